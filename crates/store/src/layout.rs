//! Which columns a part has and where files lie. The one place that knows the names; docs/store-format.md draws it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array, new_null_array};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use event::{Kind, Time};

/// One of the three tables; a part belongs to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Raw logs.
    Logs,
    /// UDM events.
    Events,
    /// UDM entities.
    Entities,
}

impl Table {
    /// All of them.
    pub const ALL: [Table; 3] = [Table::Logs, Table::Events, Table::Entities];

    /// The table that rows of this kind lie in.
    pub const fn of(kind: Kind) -> Table {
        match kind {
            Kind::Raw => Table::Logs,
            Kind::Udm => Table::Events,
            Kind::Entity => Table::Entities,
        }
    }

    /// The kind of its rows.
    pub const fn kind(self) -> Kind {
        match self {
            Table::Logs => Kind::Raw,
            Table::Events => Kind::Udm,
            Table::Entities => Kind::Entity,
        }
    }

    /// `logs`, `events`, `entities`: its name in paths and in the catalogue.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Logs => "logs",
            Table::Events => "events",
            Table::Entities => "entities",
        }
    }

    /// The table of this name.
    pub fn by_name(name: &str) -> Option<Table> {
        Table::ALL.into_iter().find(|table| table.name() == name)
    }

    /// Its folder for one day (days since 1970, UTC): `DIR/table=logs/day=2026-11-21`.
    pub(crate) fn folder(self, dir: &Path, day: i32) -> PathBuf {
        dir.join(format!("table={}", self.name())).join(format!("day={}", day_text(day)))
    }

    /// Rows as this version writes them, of rows that an earlier one may have written: what it did not know is filled in.
    pub(crate) fn conform(self, batch: RecordBatch) -> RecordBatch {
        let schema = self.schema();
        if batch.num_columns() == schema.fields().len() {
            return batch;
        }
        let rows = batch.num_rows();
        let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None if field.is_nullable() => new_null_array(field.data_type(), rows),
            // The only such column counts, and began with the first version that has more than one.
            None => Arc::new(UInt32Array::from(vec![0; rows])),
        });
        let columns = columns.collect();
        RecordBatch::try_new(schema, columns).expect("the columns were picked by the schema")
    }

    /// Its columns.
    pub(crate) fn schema(self) -> SchemaRef {
        let mut fields = vec![
            Field::new(column::RECORD_ID, DataType::FixedSizeBinary(16), false),
            Field::new(column::INSTANCE, DataType::FixedSizeBinary(16), false),
            Field::new(column::LOG_EPOCH, DataType::UInt64, false),
            Field::new(column::LOG_OFFSET, DataType::UInt64, false),
            Field::new(column::RECEIVED_AT, time_type(), false),
            Field::new(column::SENDER_TIME, time_type(), true),
            Field::new(column::COLLECTED_AT, time_type(), true),
            Field::new(column::EVENT_TIME, time_type(), false),
            Field::new(column::LOG_TYPE, DataType::Utf8, false),
            Field::new(column::NAMESPACE, DataType::Utf8, false),
            Field::new(column::FEED, DataType::Utf8, false),
            Field::new(column::SENDER, DataType::Utf8, false),
            Field::new(column::LABELS, DataType::Utf8, true),
            Field::new(column::ISSUES, DataType::Utf8, true),
            Field::new(column::PARSER, DataType::Utf8, true),
            Field::new(column::DATA, DataType::Binary, false),
        ];
        if self != Table::Logs {
            fields.push(Field::new(column::ORDINAL, DataType::UInt32, false));
            for name in column::WORDS {
                fields.push(Field::new(name, DataType::Utf8, true));
            }
            for name in column::LISTS {
                let item = Arc::new(Field::new("item", DataType::Utf8, false));
                fields.push(Field::new(name, DataType::List(item), false));
            }
        }
        Arc::new(Schema::new(fields))
    }
}

/// Names of a part's columns.
pub mod column {
    /// 16 bytes, big-endian: the batch's UUIDv7 with the record's index in the low 32 bits.
    pub const RECORD_ID: &str = "record_id";
    /// 16 bytes: the tenant's UUID.
    pub const INSTANCE: &str = "instance";
    /// The log's random id, the first half of the position.
    pub const LOG_EPOCH: &str = "log_epoch";
    /// Where in that log the frame begins.
    pub const LOG_OFFSET: &str = "log_offset";
    /// When the request's body had been read.
    pub const RECEIVED_AT: &str = "received_at";
    /// The sender's time, or null.
    pub const SENDER_TIME: &str = "sender_time";
    /// The sender's collector's time, or null.
    pub const COLLECTED_AT: &str = "collected_at";
    /// When it happened.
    pub const EVENT_TIME: &str = "event_time";
    /// The log type.
    pub const LOG_TYPE: &str = "log_type";
    /// The environment namespace, or empty.
    pub const NAMESPACE: &str = "namespace";
    /// The named way in, or empty.
    pub const FEED: &str = "feed";
    /// The account or key that sent it.
    pub const SENDER: &str = "sender";
    /// The labels as JSON, `[{"key","value","rbac_enabled"}]`, in the sender's order; null when there are none.
    pub const LABELS: &str = "labels";
    /// What was met on the way, as JSON, `[{"field","message"}]`; null when nothing was.
    pub const ISSUES: &str = "issues";
    /// The parser that read the record: on raw logs whatever came of it, on events and entities those that it made; null for
    /// what was sent as UDM.
    pub const PARSER: &str = "parser";
    /// Which of the events and entities of one record it is, from 0 (`events`, `entities`).
    pub const ORDINAL: &str = "ordinal";
    /// The record, byte for byte as sent: the raw text or the UDM JSON; or the UDM JSON that a parser made of one.
    pub const DATA: &str = "data";
    /// Single words of the UDM for other readers (`events`, `entities`); null where absent.
    pub const WORDS: [&str; 3] = [EVENT_TYPE, VENDOR_NAME, PRODUCT_NAME];
    /// `metadata.event_type` of an event, `metadata.entity_type` of an entity.
    pub const EVENT_TYPE: &str = "event_type";
    /// `metadata.vendor_name`.
    pub const VENDOR_NAME: &str = "vendor_name";
    /// `metadata.product_name`.
    pub const PRODUCT_NAME: &str = "product_name";
    /// Lists of values of the UDM for other readers (`events`, `entities`): the nine grouped fields, then every port
    /// and every URL. A value stands once, in the order of its first appearance.
    pub const LISTS: [&str; 11] = [
        "grouped_domain",
        "grouped_email",
        "grouped_file_path",
        "grouped_hash",
        "grouped_hostname",
        "grouped_ip",
        "grouped_namespace",
        "grouped_process_id",
        "grouped_user",
        "ports",
        "urls",
    ];
}

/// File name of the part with this number.
pub(crate) fn part_name(seq: u64) -> String {
    format!("{seq:012}.parquet")
}

/// File name of its filter; other readers skip names that begin with `_`.
pub(crate) fn filter_name(seq: u64) -> String {
    format!("_{seq:012}.filter")
}

/// File name that a part has while it is being written.
pub(crate) fn unfinished_name(seq: u64) -> String {
    format!("_{seq:012}.parquet.unfinished")
}

/// The number in any of these names.
pub(crate) fn seq_of_name(name: &str) -> Option<u64> {
    let name = name.strip_prefix('_').unwrap_or(name);
    let (digits, rest) = name.split_at_checked(12)?;
    let known = [".parquet", ".filter", ".parquet.unfinished"].contains(&rest);
    (known && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Whether the file at this path was still being written.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "unfinished")
}

fn day_text(day: i32) -> String {
    // Every day of an i32 that came from a Time fits seconds; a Time prints as RFC 3339, which begins with the date.
    let time = Time::from_secs(i64::from(day) * 86_400).unwrap_or(Time::MIN);
    time.to_string()[..10].to_owned()
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_what_other_readers_expect() {
        let folder = Table::Logs.folder(Path::new("d"), 20_778);
        assert_eq!(folder, Path::new("d/table=logs/day=2026-11-21"));
        for name in [part_name(7), filter_name(7), unfinished_name(7)] {
            assert_eq!(seq_of_name(&name), Some(7), "{name}");
        }
        for name in ["readme.md", "catalogue.sqlite", "00000000000x.parquet", "1.parquet", ""] {
            assert_eq!(seq_of_name(name), None, "{name}");
        }
    }
}
