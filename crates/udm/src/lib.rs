//! The UDM schema as data, and everything that follows from it alone: checking an event or entity as it was sent,
//! walking its values, picking out the ones that a search asks for.
//!
//! It stands between the dialects (which refuse what [`Schema::check`] calls a fault), the store (which fills its
//! grouped columns and filters from [`Schema::visit_leaves`]) and the query language (which reads fields through
//! [`Schema::resolve`] and [`Selection`]), and what shows records to clients of Google's API, which expect one spelling
//! ([`Schema::write_proto_json`]). All of them read the JSON as the sender wrote it, in one pass, without a tree of
//! values in between: key spellings mixed, scalars for lists, numbers as text (contracts/chronicle.md §0.1).
//!
//! Nothing here changes a record, and nothing knows of batches, customers or tables.

mod check;
mod extract;
mod fields;
mod fold;
mod leaves;
mod path;
mod place;
mod proto_json;
mod rules;
mod scalar;
mod schema;
mod walk;

pub use check::{Checked, Fault, Faults, Mode};
pub use extract::{Scalar, Selection};
pub use fields::{FieldRef, Kind, MessageRef};
pub use fold::{fold, fold_char, fold_into};
pub use leaves::Leaf;
pub use path::{FieldPath, LeafKind, UnknownField};
pub use proto_json::LeftOut;
pub use scalar::{Instant, parse_duration};
pub use schema::{EnumId, Grouped, Groups, Root, Schema};
