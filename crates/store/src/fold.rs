//! Folds bytes of records for the filters, by the rule that query and store share ([`udm::fold_char`]).

/// Appends `bytes` folded. What is no UTF-8 becomes the replacement character, as it does where a query folds a record.
pub(crate) fn fold_into(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    if bytes.is_ascii() {
        out.extend_from_slice(bytes);
        out[start..].make_ascii_lowercase();
        return;
    }
    let mut utf8 = [0u8; 4];
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            out.extend_from_slice(udm::fold_char(char).encode_utf8(&mut utf8).as_bytes());
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(char::REPLACEMENT_CHARACTER.encode_utf8(&mut utf8).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_fold_as_everywhere(text in "\\PC{0,20}") {
            let mut out = Vec::new();
            fold_into(text.as_bytes(), &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), udm::fold(&text));
        }
    }

    #[test]
    fn foreign_bytes_fold_as_a_query_folds_them() {
        let data = b"\xFF\xC3\x89A\xC3\xF0\x90b";
        let mut out = Vec::new();
        fold_into(data, &mut out);
        assert_eq!(out, udm::fold(&String::from_utf8_lossy(data)).as_bytes());
    }
}
