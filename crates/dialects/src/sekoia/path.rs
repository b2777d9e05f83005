//! The JSONPath of `/jsons?path=`, as far as it is documented: names below each other that lead to one list, such as
//! `$.a.b`. Brackets with a quoted name or an index are taken, too, and a last `[*]`, which says "its items". Filters,
//! slices and `..` are refused by name.

use std::str::FromStr;

/// A way from the top of a body to a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) steps: Vec<Step>,
    text: String,
}

/// One step of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of a field.
    Name(String),
    /// An item of a list.
    Index(usize),
}

/// Most steps: what is nested deeper is no body that we read.
const STEPS_MAX: usize = event::limits::JSON_DEPTH_MAX - 2;

impl Path {
    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Path, String> {
        let form = || "expected $ and names, such as $.a.b or $['a']['b']".to_owned();
        let mut rest = text.trim().strip_prefix('$').ok_or_else(form)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if rest == "[*]" || rest == ".*" {
                break;
            }
            if steps.len() == STEPS_MAX {
                return Err(format!("more than {STEPS_MAX} steps"));
            }
            if rest.starts_with("..") {
                return Err("a search at every depth (..) is not supported; name the whole way".to_owned());
            }
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                let name = &after[..end];
                if name.is_empty() {
                    return Err(form());
                }
                if name == "*" {
                    return Err("* is only taken at the end".to_owned());
                }
                steps.push(Step::Name(name.to_owned()));
                rest = &after[end..];
                continue;
            }
            let inner = rest.strip_prefix('[').ok_or_else(form)?;
            let (step, after) = match inner.chars().next() {
                Some(quote @ ('\'' | '"')) => {
                    let end = inner[1..].find(quote).ok_or_else(form)? + 1;
                    (Step::Name(inner[1..end].to_owned()), &inner[end + 1..])
                }
                Some('0'..='9') => {
                    let end = inner.find(']').ok_or_else(form)?;
                    let index = inner[..end].parse().map_err(|_| "only plain indexes are supported".to_owned())?;
                    (Step::Index(index), &inner[end..])
                }
                Some('?') => return Err("filters are not supported".to_owned()),
                Some('*') => return Err("* is only taken at the end".to_owned()),
                _ => return Err(form()),
            };
            steps.push(step);
            rest = after.strip_prefix(']').ok_or_else(form)?;
        }
        Ok(Path { steps, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let name = |text: &str| Step::Name(text.to_owned());
        let check = |text: &str, expected: Result<Vec<Step>, &str>| match (text.parse::<Path>(), expected) {
            (Ok(path), Ok(steps)) => assert_eq!(path.steps, steps, "{text}"),
            (Err(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
            (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
        };
        check("$.events", Ok(vec![name("events")]));
        check("$.a.b", Ok(vec![name("a"), name("b")]));
        check("$['a b'][\"c\"]", Ok(vec![name("a b"), name("c")]));
        check("$.a[0].b[*]", Ok(vec![name("a"), Step::Index(0), name("b")]));
        check("$", Ok(vec![]));
        check("$[*]", Ok(vec![]));
        check("$.é", Ok(vec![name("é")]));
        check("events", Err("expected $"));
        check("", Err("expected $"));
        check("$events", Err("expected $"));
        check("$.", Err("expected $"));
        check("$.a..b", Err("every depth"));
        check("$[?(@.x)]", Err("filters"));
        check("$.a[1:2]", Err("plain indexes"));
        check("$.*.b", Err("at the end"));
        check("$['a", Err("expected $"));
        check("$['é'", Err("expected $"));
        check(&format!("${}", ".a".repeat(100)), Err("more than"));
    }
}
