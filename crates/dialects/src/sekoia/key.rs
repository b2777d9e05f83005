//! Where a head may hold an intake key: the header, the password of HTTP Basic, the query, in this order
//! (contracts/sekoia.md §1.3). Whose it is, [`crate::auth`] says.

use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::GeneralPurposeConfig;
use http::header::AUTHORIZATION;

use crate::{Head, Refusal};

const HEADER: &str = "x-sekoiaio-intake-key";
const QUERY: &str = "intake_key";

/// The key in a head; `None` where it has none. An empty one is none: forms are sent with fields that nobody filled in.
pub(super) fn of_head(head: &Head) -> Result<Option<String>, Refusal> {
    if let Some(value) = head.headers.get(HEADER) {
        let key = value.to_str().map_err(|_| Refusal::unauthenticated("The intake key in the header is not text."))?;
        if !key.trim().is_empty() {
            return Ok(Some(key.trim().to_owned()));
        }
    }
    if let Some(value) = head.headers.get(AUTHORIZATION) {
        let text = value.to_str().unwrap_or_default().trim();
        // Other schemes are none of ours, and a key may still stand in the query or the body.
        if let Some((scheme, credentials)) = text.split_once(' ')
            && scheme.eq_ignore_ascii_case("basic")
        {
            let form = "The Authorization header is not of the form \"Basic <base64 of user:key>\".";
            let key = basic_password(credentials).ok_or_else(|| Refusal::unauthenticated(form))?;
            if !key.is_empty() {
                return Ok(Some(key));
            }
        }
    }
    Ok(head.query_value(QUERY).filter(|key| !key.is_empty()))
}

/// The password of a Basic credential, whoever the user: it may be empty, and Python sends `None`.
fn basic_password(credentials: &str) -> Option<String> {
    /// Padding may be missing, as some appliances leave it out.
    const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    let decoded = ANY_PADDING.decode(credentials.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    Some(text.split_once(':')?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    #[test]
    fn a_key_is_found_wherever_it_may_stand() {
        let check = |headers: &[(&str, &str)], query: Option<&str>, expected: Result<Option<&str>, &str>| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
            }
            let head = Head::new(Method::POST, "/plain", query, map, [127, 0, 0, 1].into()).unwrap();
            match (of_head(&head), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.as_deref(), expected, "{headers:?} {query:?}"),
                (Err(refusal), Err(part)) => assert!(refusal.message.contains(part), "{refusal:?}"),
                (found, expected) => panic!("{headers:?} {query:?}: {found:?}, expected {expected:?}"),
            }
        };
        check(&[], None, Ok(None));
        check(&[("X-SEKOIAIO-INTAKE-KEY", " abc ")], None, Ok(Some("abc")));
        check(&[("Authorization", "Basic OmFiYw==")], None, Ok(Some("abc")));
        check(&[("Authorization", "basic Tm9uZTphYmM=")], None, Ok(Some("abc")));
        check(&[("Authorization", "Basic Tm9uZTphYmM")], None, Ok(Some("abc")));
        check(&[("Authorization", "Basic dXNlcjphOmI=")], None, Ok(Some("a:b")));
        check(&[], Some("a=b&intake_key=a%62c"), Ok(Some("abc")));
        check(&[("Authorization", "Bearer token")], Some("intake_key=abc"), Ok(Some("abc")));
        check(&[("Authorization", "Basic OmI="), ("X-SEKOIAIO-INTAKE-KEY", "a")], Some("intake_key=c"), Ok(Some("a")));
        check(&[("Authorization", "Basic OmI=")], Some("intake_key=c"), Ok(Some("b")));
        check(&[("Authorization", "Basic ?")], Some("intake_key=c"), Err("Basic"));
        check(&[("Authorization", "Basic YWJj")], None, Err("Basic"));
    }
}
