//! Turns events into the columns of a part, and rows of parts back into what their filter must hold.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, FixedSizeBinaryBuilder, ListBuilder, StringBuilder, TimestampNanosecondBuilder, UInt32Builder,
    UInt64Builder,
};
use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, SchemaRef};
use event::{BatchMeta, Event, Time};

use crate::filter::FilterBuilder;
use crate::layout::{Table, column};
use crate::leaves::{LeafReader, Place};

/// Makes record batches of events of one table.
pub(crate) struct Encoder<'a> {
    table: Table,
    schema: SchemaRef,
    leaves: &'a LeafReader,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(table: Table, leaves: &'a LeafReader) -> Encoder<'a> {
        Encoder { table, schema: table.schema(), leaves }
    }

    /// The columns of these events; what a search may look for in them goes into `filter`.
    pub(crate) fn encode(&self, events: &[&Event], filter: &mut FilterBuilder) -> RecordBatch {
        let rows = events.len();
        let mut ids = FixedSizeBinaryBuilder::with_capacity(rows, 16);
        let mut instances = FixedSizeBinaryBuilder::with_capacity(rows, 16);
        let mut epochs = UInt64Builder::with_capacity(rows);
        let mut offsets = UInt64Builder::with_capacity(rows);
        let mut times: [TimestampNanosecondBuilder; 4] =
            std::array::from_fn(|_| TimestampNanosecondBuilder::with_capacity(rows).with_timezone("UTC"));
        let mut texts: [StringBuilder; 4] = std::array::from_fn(|_| StringBuilder::with_capacity(rows, rows * 8));
        let mut labels = StringBuilder::new();
        let mut issues = StringBuilder::new();
        let mut parsers = StringBuilder::new();
        let mut ordinals = UInt32Builder::with_capacity(rows);
        let mut data = BinaryBuilder::with_capacity(rows, events.iter().map(|event| event.data.len()).sum());
        let mut words: [StringBuilder; 3] = std::array::from_fn(|_| StringBuilder::new());
        let mut lists: [ListColumn; 11] = std::array::from_fn(|_| ListColumn::new());

        let mut last: Option<(&Arc<BatchMeta>, Option<String>)> = None;
        for event in events {
            let batch = &event.batch;
            const WIDTH: &str = "ids are 16 bytes wide";
            ids.append_value(event.id().as_u128().to_be_bytes()).expect(WIDTH);
            instances.append_value(batch.instance.uuid().as_bytes()).expect(WIDTH);
            epochs.append_value(event.position.epoch);
            offsets.append_value(event.position.offset);
            let [received_at, sender_time, collected_at, event_time] = &mut times;
            received_at.append_value(batch.received_at.nanos());
            sender_time.append_option(event.sender_time.map(Time::nanos));
            collected_at.append_option(event.collected_at.map(Time::nanos));
            event_time.append_value(event.event_time.nanos());
            for (column, text) in texts.iter_mut().zip([&batch.log_type, &batch.namespace, &batch.feed, &batch.sender])
            {
                column.append_value(text);
            }
            // Neighbours mostly come of one batch, whose labels are then written once.
            if last.as_ref().is_none_or(|(known, _)| !Arc::ptr_eq(known, batch)) {
                let text = (!batch.labels.is_empty())
                    .then(|| serde_json::to_string(&batch.labels).expect("labels are texts, which JSON can hold"));
                last = Some((batch, text));
            }
            labels.append_option(last.as_ref().and_then(|(_, text)| text.as_deref()));
            issues.append_option(
                (!event.issues.is_empty())
                    .then(|| serde_json::to_string(&event.issues).expect("issues are texts, which JSON can hold")),
            );
            parsers.append_option(event.parser.as_deref());
            ordinals.append_value(event.ordinal);
            data.append_value(&event.data);

            if self.table == Table::Logs {
                filter.text(&event.data);
            } else {
                let mut seen = [false; 3];
                self.leaves.read(self.table, &event.data, &mut |value, places| {
                    filter.value(value.as_bytes());
                    for place in places {
                        match place {
                            Place::Word(index) if seen[index] => {}
                            Place::Word(index) => {
                                words[index].append_value(value);
                                seen[index] = true;
                            }
                            Place::List(index) => lists[index].add(value),
                        }
                    }
                });
                for (column, seen) in words.iter_mut().zip(seen) {
                    if !seen {
                        column.append_null();
                    }
                }
                lists.iter_mut().for_each(ListColumn::end_row);
            }
            filter.end_row(event.data.len());
        }

        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(ids.finish()),
            Arc::new(instances.finish()),
            Arc::new(epochs.finish()),
            Arc::new(offsets.finish()),
        ];
        columns.extend(times.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.extend(texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(labels.finish()));
        columns.push(Arc::new(issues.finish()));
        columns.push(Arc::new(parsers.finish()));
        columns.push(Arc::new(data.finish()));
        if self.table != Table::Logs {
            columns.push(Arc::new(ordinals.finish()));
            columns.extend(words.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
            columns.extend(lists.iter_mut().map(|column| Arc::new(column.list.finish()) as ArrayRef));
        }
        RecordBatch::try_new(self.schema.clone(), columns).expect("the columns were made in the order of the schema")
    }
}

/// Puts into `filter` what a search may look for in rows that were read from parts.
pub(crate) fn refilter(table: Table, leaves: &LeafReader, batch: &RecordBatch, filter: &mut FilterBuilder) {
    let data = batch.column_by_name(column::DATA).expect("every table has this column");
    let data = data.as_any().downcast_ref::<BinaryArray>().expect("the column is binary");
    for record in data.iter().flatten() {
        if table == Table::Logs {
            filter.text(record);
        } else {
            leaves.read(table, record, &mut |value, _| filter.value(value.as_bytes()));
        }
        filter.end_row(record.len());
    }
}

/// A list column; a value stands once in each row.
struct ListColumn {
    list: ListBuilder<StringBuilder>,
    row_start: usize,
}

impl ListColumn {
    fn new() -> ListColumn {
        let item = Field::new("item", DataType::Utf8, false);
        ListColumn { list: ListBuilder::new(StringBuilder::new()).with_field(item), row_start: 0 }
    }

    fn add(&mut self, value: &str) {
        let values = self.list.values();
        let bounds = &values.offsets_slice()[self.row_start..];
        let known = bounds
            .windows(2)
            .any(|bounds| &values.values_slice()[bounds[0] as usize..bounds[1] as usize] == value.as_bytes());
        if !known {
            values.append_value(value);
        }
    }

    fn end_row(&mut self) {
        self.list.append(true);
        self.row_start = self.list.values_ref().offsets_slice().len() - 1;
    }
}
