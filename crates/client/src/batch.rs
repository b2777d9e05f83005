//! How a list of records becomes requests: grouped by what a request says about all of its records, cut so that no body
//! is over the limit. Pure; nothing is sent before the whole list is known to fit.

use std::collections::HashMap;
use std::ops::Range;

use dialects::chronicle_api::encode::Import;

use crate::error::Error;

/// What one request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyLimits {
    /// Before compression.
    pub bytes_max: usize,
    pub records_max: usize,
}

/// One request to be: its records are elements as `encode` makes them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub import: Import<'static>,
    /// The records, as the caller counts them.
    pub items: Vec<usize>,
    pub elements: Vec<Vec<u8>>,
}

impl Planned {
    pub(crate) fn body(&self) -> Vec<u8> {
        self.import.body(self.elements.iter().map(Vec::as_slice))
    }

    /// The log type that its records share; empty for UDM events.
    pub(crate) fn log_type(&self) -> &str {
        match &self.import {
            Import::Logs { log_type, .. } | Import::Entities { log_type } => log_type,
            Import::Events => "",
        }
    }
}

/// The requests for these records. Groups come in the order of their first record; within a group the order is kept.
pub(crate) fn plan(records: Vec<(Import<'static>, Vec<u8>)>, limits: BodyLimits) -> Result<Vec<Planned>, Error> {
    let mut groups: Vec<Planned> = Vec::new();
    let mut at: HashMap<Import<'static>, usize> = HashMap::new();
    for (item, (import, element)) in records.into_iter().enumerate() {
        let group = *at.entry(import).or_insert_with_key(|import| {
            groups.push(Planned { import: import.clone(), items: Vec::new(), elements: Vec::new() });
            groups.len() - 1
        });
        groups[group].items.push(item);
        groups[group].elements.push(element);
    }

    let mut requests = Vec::new();
    for group in groups {
        let lengths: Vec<usize> = group.elements.iter().map(Vec::len).collect();
        let ranges = cut(group.import.envelope_bytes(), &lengths, limits).map_err(|too_large| Error::TooLarge {
            index: group.items[too_large.at],
            bytes: too_large.bytes,
            bytes_max: limits.bytes_max,
        })?;
        let mut elements = group.elements.into_iter();
        for range in ranges {
            requests.push(Planned {
                import: group.import.clone(),
                items: group.items[range.clone()].to_vec(),
                elements: elements.by_ref().take(range.len()).collect(),
            });
        }
    }
    Ok(requests)
}

/// A record that is over the limit alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge {
    pub at: usize,
    pub bytes: usize,
}

/// Cuts elements of these lengths into bodies: as few as possible while the order is kept.
pub(crate) fn cut(envelope: usize, lengths: &[usize], limits: BodyLimits) -> Result<Vec<Range<usize>>, TooLarge> {
    if let Some(at) = lengths.iter().position(|length| envelope + length > limits.bytes_max) {
        return Err(TooLarge { at, bytes: envelope + lengths[at] });
    }
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, envelope);
    for (at, length) in lengths.iter().enumerate() {
        // A comma stands between each two.
        let comma = usize::from(at > start);
        if bytes + comma + length > limits.bytes_max || at - start == limits.records_max {
            ranges.push(start..at);
            (start, bytes) = (at, envelope + length);
        } else {
            bytes += comma + length;
        }
    }
    if start < lengths.len() {
        ranges.push(start..lengths.len());
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn logs(log_type: &str) -> Import<'static> {
        Import::Logs { log_type: log_type.to_owned().into(), forwarder: None }
    }

    #[test]
    fn types_are_grouped_and_order_is_kept() {
        let records = ["A", "B", "A", "A", "B"].into_iter().enumerate();
        let records = records.map(|(at, log_type)| (logs(log_type), vec![b'0' + at as u8])).collect();
        let limits = BodyLimits { bytes_max: 1_000, records_max: 2 };
        let requests: Vec<_> = plan(records, limits)
            .unwrap()
            .into_iter()
            .map(|request| (request.log_type().to_owned(), request.items))
            .collect();
        let expected = [("A".to_owned(), vec![0, 2]), ("A".to_owned(), vec![3]), ("B".to_owned(), vec![1, 4])];
        assert_eq!(requests, expected);
        assert_eq!(plan(Vec::new(), limits).unwrap(), Vec::new());
    }

    #[test]
    fn one_record_over_the_limit_stops_all() {
        let envelope = logs("A").envelope_bytes();
        let limits = BodyLimits { bytes_max: envelope + 10, records_max: 100 };
        let plan = |lengths: [usize; 3]| {
            let records = lengths.into_iter().map(|length| (logs("A"), vec![b'x'; length])).collect();
            plan(records, limits)
        };
        assert_eq!(plan([10, 10, 10]).unwrap().len(), 3, "to the byte");
        match plan([1, 11, 12]) {
            Err(Error::TooLarge { index: 1, bytes, bytes_max }) => {
                assert_eq!((bytes, bytes_max), (envelope + 11, envelope + 10));
            }
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn no_body_is_over_the_limit_and_no_record_is_lost(
            types in proptest::collection::vec((0u8..3, 0usize..60), 0..80),
            bytes_max in 120usize..300,
            records_max in 1usize..9,
        ) {
            let limits = BodyLimits { bytes_max, records_max };
            let import = |number: u8| match number {
                0 => Import::Events,
                1 => logs("OKTA"),
                _ => Import::Entities { log_type: "É\"".into() },
            };
            let records: Vec<_> = types
                .iter()
                .enumerate()
                .map(|(item, (number, length))| (import(*number), format!("{item:0length$}").into_bytes()))
                .collect();
            let requests = plan(records.clone(), limits).unwrap();
            let mut seen = vec![0; records.len()];
            for request in &requests {
                let body = request.body();
                prop_assert!(body.len() <= bytes_max, "{} > {bytes_max}", body.len());
                prop_assert!((1..=records_max).contains(&request.items.len()));
                prop_assert!(request.items.is_sorted());
                for (item, element) in request.items.iter().zip(&request.elements) {
                    prop_assert_eq!(&records[*item], &(request.import.clone(), element.clone()));
                    seen[*item] += 1;
                }
            }
            prop_assert!(seen.iter().all(|times| *times == 1));
            // No two neighbours of a group would have fitted into one.
            for pair in requests.windows(2).filter(|pair| pair[0].import == pair[1].import) {
                let joined = pair[0].body().len() + 1 + pair[1].elements[0].len();
                prop_assert!(joined > bytes_max || pair[0].items.len() == records_max);
            }
        }
    }
}
