//! Which values of a UDM record go into which column, by the schema's own walk over the JSON.

use std::collections::HashMap;
use std::sync::Arc;

use udm::Root;

use crate::layout::{Table, column};

/// A column that a value belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// `column::WORDS[i]`: the first such value of the record.
    Word(usize),
    /// `column::LISTS[i]`: every such value.
    List(usize),
}

/// Walks UDM records.
pub(crate) struct LeafReader {
    schema: Arc<udm::Schema>,
    /// The schema's number of a grouped field to the index of its list column.
    lists: Vec<Option<usize>>,
    words: HashMap<&'static str, usize>,
    ports: usize,
    urls: usize,
}

impl LeafReader {
    pub(crate) fn new(schema: Arc<udm::Schema>) -> LeafReader {
        let list = |name: &str| column::LISTS.iter().position(|list| *list == name);
        let lists = schema.grouped().iter().map(|group| list(&format!("grouped_{}", group.name))).collect();
        let word = |name: &str| column::WORDS.iter().position(|word| *word == name).expect("it is one of the words");
        let words = HashMap::from([
            ("metadata.event_type", word(column::EVENT_TYPE)),
            ("metadata.entity_type", word(column::EVENT_TYPE)),
            ("metadata.vendor_name", word(column::VENDOR_NAME)),
            ("metadata.product_name", word(column::PRODUCT_NAME)),
        ]);
        let known = "it is one of the lists";
        let (ports, urls) = (list("ports").expect(known), list("urls").expect(known));
        LeafReader { schema, lists, words, ports, urls }
    }

    /// Calls `visit` with every value of the record's known fields and the columns that it belongs to, in the record's
    /// order. Nothing for a table of raw logs.
    pub(crate) fn read(&self, table: Table, json: &[u8], visit: &mut dyn FnMut(&str, &mut dyn Iterator<Item = Place>)) {
        let root = match table {
            Table::Logs => return,
            Table::Events => Root::Event,
            Table::Entities => Root::Entity,
        };
        self.schema.visit_leaves(root, json, &mut |leaf| {
            let last = leaf.path.rsplit('.').next().unwrap_or_default();
            let extra = match last {
                "port" => Some(Place::List(self.ports)),
                "url" => Some(Place::List(self.urls)),
                _ => leaf
                    .path
                    .starts_with("metadata.")
                    .then(|| self.words.get(leaf.path).copied().map(Place::Word))
                    .flatten(),
            };
            let groups = leaf.groups.iter().filter_map(|group| self.lists.get(group).copied().flatten());
            visit(leaf.text, &mut groups.map(Place::List).chain(extra));
        });
    }
}
