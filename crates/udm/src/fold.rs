//! How letter case is ignored, in one place: the store folds what it puts into its filters, the query language folds
//! what it looks for, and the two must agree or a search would miss rows.
//!
//! The rule: an ASCII letter becomes its lower case. Any other character becomes its Unicode lower case where that is
//! one single character outside ASCII, and else stays as it is. So folding maps characters one to one, never turns a
//! non-ASCII character into an ASCII one (the Kelvin sign does not become `k`), and the fold of a concatenation is the
//! concatenation of the folds. It is not full Unicode case folding: `ß` and `SS` stay different, as do `σ` and `ς`.

/// The folded form of one character.
pub fn fold_char(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    let mut lower = character.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) if !one.is_ascii() => one,
        _ => character,
    }
}

/// The folded form of a text.
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    fold_into(text, &mut out);
    out
}

/// Appends the folded form of `text` to `out`, so that a caller with many texts allocates once.
pub fn fold_into(text: &str, out: &mut String) {
    let start = out.len();
    if text.is_ascii() {
        out.push_str(text);
        out[start..].make_ascii_lowercase();
    } else {
        out.extend(text.chars().map(fold_char));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn folds_as_documented() {
        for (text, expected) in [
            ("WIN-Server", "win-server"),
            ("MÜLLER", "müller"),
            ("ПРИВЕТ", "привет"),
            ("\u{212A}", "\u{212A}"),
            ("İ", "İ"),
            ("ẞ", "ß"),
            ("東京 서울", "東京 서울"),
        ] {
            assert_eq!(fold(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn folding_is_piecewise_and_settles(a in "\\PC{0,12}", b in "\\PC{0,12}") {
            prop_assert_eq!(fold(&format!("{a}{b}")), fold(&a) + &fold(&b));
            prop_assert_eq!(fold(&fold(&a)), fold(&a));
        }
    }

    #[test]
    fn every_character_folds_once_and_never_into_ascii() {
        for character in (0..=0x10FFFFu32).filter_map(char::from_u32) {
            let folded = fold_char(character);
            assert_eq!(fold_char(folded), folded, "{character:?}");
            assert_eq!(folded.is_ascii(), character.is_ascii(), "{character:?}");
        }
    }
}
