//! What can go wrong in a search, sorted by who must act.

use std::path::PathBuf;

/// Why a search gave no complete answer. Rows that the sink was handed before are good.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// Nobody: the caller cancelled it.
    #[error("the search was cancelled")]
    Cancelled,
    /// Time or the operator: a part cannot be opened.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The operator: a part cannot be read, because of the disk or because it is damaged.
    #[error("cannot read the part {}", path.display())]
    Part {
        /// The part's file.
        path: PathBuf,
        /// What the library said.
        #[source]
        source: parquet::errors::ParquetError,
    },
}
