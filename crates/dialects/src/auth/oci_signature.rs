//! OCI's request signatures (contracts/oci.md §3.1): RSA over chosen headers, and over the body through its hash.
//!
//! Which headers are signed, and in which order, the request says; that those are among them without which a signature
//! would say nothing is checked here. What was signed is the request line as it came: clients write the same query in
//! different ways. Deliberately absent: keys of resource principals and delegation tokens (`ST$…`), which would need a
//! service that vouches for them, and other algorithms than `rsa-sha256`, which no client of OCI uses.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event::{Time, limits};
use http::header::{AUTHORIZATION, CONTENT_ENCODING};
use http::{HeaderMap, Method};
use ring::digest;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::{Caller, Scope, authenticate_bearer};
use crate::snapshot::{SecretHash, Snapshot};
use crate::{Cause, Head, Refusal, when};

/// In this header callers who belong to no instance name the one that they mean.
pub const INSTANCE_HEADER: &str = "x-penstock-instance";

/// The header that holds the hash of the body.
pub(crate) const BODY_HASH_HEADER: &str = "x-content-sha256";

/// The method and path of a request among the headers that are signed.
pub(crate) const REQUEST_TARGET: &str = "(request-target)";

/// What every signature covers beside a date, and what it covers beside that where there may be a body.
const SIGNED_ALWAYS: [&str; 2] = [REQUEST_TARGET, "host"];
const SIGNED_WITH_BODY: [&str; 3] = ["content-length", "content-type", BODY_HASH_HEADER];

/// Most headers that a signature covers: each is looked up.
const SIGNED_MAX: usize = 32;

/// Who sends a request to OCI's APIs: by a signature, or by a bearer token of ours. The caller always names an instance.
pub fn authenticate_oci(head: &Head, snapshot: &Snapshot, now: Time) -> Result<Caller, Refusal> {
    let Some(value) = head.headers.get(AUTHORIZATION) else {
        let message =
            "The request has no credential: sign it as OCI's SDKs do, or send \"Authorization: Bearer <token>\".";
        return Err(Refusal::unauthenticated(message));
    };
    let value = value.to_str().map_err(|_| Refusal::unauthenticated("The Authorization header is not text."))?.trim();
    let (scheme, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("signature") {
        authenticate_signature(rest, head, snapshot, now)
    } else if scheme.eq_ignore_ascii_case("bearer") {
        of_one_instance(authenticate_bearer(rest.trim(), snapshot, now)?, head, snapshot)
    } else {
        Err(Refusal::unauthenticated("The Authorization header is neither of the scheme Signature nor of Bearer."))
    }
}

/// The caller for the instance that the request is about. OCI's APIs name none: a key belongs to a tenancy.
fn of_one_instance(caller: Caller, head: &Head, snapshot: &Snapshot) -> Result<Caller, Refusal> {
    let named = match head.headers.get(INSTANCE_HEADER) {
        Some(value) => {
            let text = String::from_utf8_lossy(value.as_bytes());
            let id = text.trim().parse().map_err(|_| {
                let shown: String = text.chars().take(60).collect();
                Refusal::invalid(format!("X-Penstock-Instance {shown:?} is no UUID of an instance.")).of(&caller)
            })?;
            Some(id)
        }
        None => None,
    };
    let instance = match (named.or(caller.instance()), snapshot.instances.len()) {
        (Some(instance), _) => instance,
        (None, 1) => *snapshot.instances.keys().next().expect("there is one"),
        (None, _) => {
            let message =
                "The operator belongs to no instance, and there is not just one: name it in X-Penstock-Instance.";
            return Err(Refusal::invalid(message).of(&caller));
        }
    };
    let whom = caller.clone();
    match caller.narrowed(instance) {
        Some(caller) if snapshot.instances.contains_key(&instance) => Ok(caller),
        _ => Err(Refusal::new(Cause::NotFound, format!("There is no instance {instance} for this caller.")).of(&whom)),
    }
}

/// What an `Authorization: Signature` header says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Signature<'h> {
    algorithm: Option<&'h str>,
    headers: Option<&'h str>,
    key_id: Option<&'h str>,
    signature: Option<&'h str>,
    version: Option<&'h str>,
}

impl<'h> Signature<'h> {
    /// Reads `name="value"` separated by commas, in any order, with any spaces around them; quotes may be missing. What has
    /// another name is passed over.
    pub(crate) fn read(text: &'h str) -> Result<Signature<'h>, &'static str> {
        let mut out = Signature::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (name, behind) = rest.split_once('=').ok_or("is not a list of name=\"value\"")?;
            let behind = behind.trim_start();
            let (value, behind) = match behind.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or("has a quote that is not closed")?,
                None => behind.split_at(behind.find(',').unwrap_or(behind.len())),
            };
            let behind = behind.trim_start();
            rest = match behind.strip_prefix(',') {
                Some(rest) => rest.trim_start(),
                None if behind.is_empty() => behind,
                None => return Err("has no comma between two values"),
            };
            let place = match name.trim() {
                name if name.eq_ignore_ascii_case("algorithm") => &mut out.algorithm,
                name if name.eq_ignore_ascii_case("headers") => &mut out.headers,
                name if name.eq_ignore_ascii_case("keyId") => &mut out.key_id,
                name if name.eq_ignore_ascii_case("signature") => &mut out.signature,
                name if name.eq_ignore_ascii_case("version") => &mut out.version,
                _ => continue,
            };
            if place.replace(value.trim()).is_some() {
                return Err("has a value twice");
            }
        }
        Ok(out)
    }
}

fn authenticate_signature(text: &str, head: &Head, snapshot: &Snapshot, now: Time) -> Result<Caller, Refusal> {
    let refuse = Refusal::unauthenticated;
    let read = Signature::read(text).map_err(|why| refuse(format!("The Authorization header {why}.")))?;
    let missing = |name: &str| refuse(format!("The Authorization header has no {name}."));
    let key_id = read.key_id.ok_or_else(|| missing("keyId"))?;
    let signature = read.signature.ok_or_else(|| missing("signature"))?;
    let signed = read.headers.ok_or_else(|| missing("headers"))?;
    let algorithm = read.algorithm.ok_or_else(|| missing("algorithm"))?;
    if !algorithm.eq_ignore_ascii_case("rsa-sha256") {
        let shown: String = algorithm.chars().take(40).collect();
        return Err(refuse(format!("The signature's algorithm is {shown:?}; only rsa-sha256 is known.")));
    }
    if read.version.is_some_and(|version| version != "1") {
        return Err(refuse("The signature's version is not 1.".to_owned()));
    }
    if key_id.starts_with("ST$") {
        let message = "The keyId is a token (ST$…): resource principals, instance principals and delegation are not served; \
            sign with the API key of a user.";
        return Err(refuse(message.to_owned()));
    }
    if head.headers.contains_key(CONTENT_ENCODING) {
        // What the hash is of is gone once a body is inflated.
        return Err(refuse("A signed request cannot be compressed: send it without Content-Encoding.".to_owned()));
    }
    let signed: Vec<String> = signed.split_ascii_whitespace().map(str::to_ascii_lowercase).collect();
    let date = check_coverage(&signed, &head.method)?;
    let text = signing_string(&signed, &head.method, &head.raw_path, head.query.as_deref(), &head.headers)
        .map_err(|name| refuse(format!("The signature covers the header {name}, which the request does not have.")))?;

    // One answer whether the key or the signature is wrong: whoever cannot sign learns nothing about which keys there are.
    let key = snapshot.oci_keys.get(key_id).filter(|key| snapshot.instances.contains_key(&key.instance));
    let key = key.filter(|key| {
        let signature = STANDARD.decode(signature).unwrap_or_default();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &key.key).verify(text.as_bytes(), &signature).is_ok()
    });
    let Some(key) = key else {
        let hash = SecretHash::of(key_id);
        let guessed = hash.as_bytes().first_chunk().and_then(|part| NonZeroU32::new(u32::from_le_bytes(*part)));
        let shown: String = key_id.chars().take(300).collect();
        let message = format!(
            "The key {shown:?} did not make this signature, or is no key of a user here. Check tenancy, user and fingerprint, \
             and that nothing on the way changes host, path, query or signed headers."
        );
        return Err(Refusal { guessed, ..refuse(message) });
    };
    let caller = Caller {
        instance: Some(key.instance),
        sender: format!("oci:{}", key.name),
        role: key.role,
        // A key of OCI opens none of Google's doors.
        scopes: key.role.scopes().without(Scope::Iam),
    };
    if key.disabled {
        return Err(refuse(format!("The user {:?} is disabled.", key.name)).of(&caller));
    }
    let text = joined(&head.headers, date).unwrap_or_default();
    let date = when::read(&text, now)
        .map_err(|why| refuse(format!("The header {date} {}.", fitting(&why.to_string()))).of(&caller))?;
    let off = now.nanos_since(date) / 1_000_000_000;
    if off.abs() > limits::OCI_DATE_SKEW_SECS {
        let (secs, direction) = (off.unsigned_abs(), if off > 0 { "behind" } else { "ahead of" });
        let message = format!(
            "The request's date {text:?} is {secs} s {direction} this server's clock, which says {now}; {} s are allowed.",
            limits::OCI_DATE_SKEW_SECS
        );
        return Err(refuse(message).of(&caller));
    }
    Ok(caller)
}

/// Whether the headers are covered without which a signature could be used for another request; gives the one that holds
/// the date.
fn check_coverage(signed: &[String], method: &Method) -> Result<&'static str, Refusal> {
    let has = |name: &str| signed.iter().any(|signed| signed == name);
    if signed.len() > SIGNED_MAX {
        return Err(Refusal::unauthenticated(format!("The signature covers more than {SIGNED_MAX} headers.")));
    }
    let date = ["x-date", "date"].into_iter().find(|name| has(name));
    let with_body = may_have_body(method).then_some(SIGNED_WITH_BODY).into_iter().flatten();
    let mut missing: Vec<&str> = SIGNED_ALWAYS.into_iter().chain(with_body).filter(|name| !has(name)).collect();
    if date.is_none() {
        missing.insert(0, "date");
    }
    match date {
        Some(date) if missing.is_empty() => Ok(date),
        _ => Err(Refusal::unauthenticated(format!(
            "The signature does not cover {}, which a signature of {method} must.",
            missing.join(", ")
        ))),
    }
}

/// Whether a request with this method has a body as a rule, so that a signature must cover it.
pub(crate) fn may_have_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// What is signed: a line for each header, in their order. `Err` names the one that is not there.
pub(crate) fn signing_string<'s>(
    signed: &'s [String],
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<String, &'s str> {
    let mut out = String::with_capacity(512);
    for (index, name) in signed.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push_str(name);
        out.push_str(": ");
        if name == REQUEST_TARGET {
            out.push_str(&method.as_str().to_ascii_lowercase());
            out.push(' ');
            out.push_str(path);
            if let Some(query) = query {
                out.push('?');
                out.push_str(query);
            }
        } else {
            out.push_str(&joined(headers, name).ok_or(name.as_str())?);
        }
    }
    Ok(out)
}

/// All values of a header as one; `None` where it has none.
fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!values.is_empty()).then(|| values.iter().map(|value| value.trim()).collect::<Vec<_>>().join(", "))
}

/// Whether the body is the one that was signed. A bearer token says nothing about the body, so then there is nothing to
/// compare.
pub(crate) fn check_body(head: &Head, body: &[u8]) -> Result<(), Refusal> {
    let value = head.headers.get(AUTHORIZATION).map(|value| value.as_bytes().trim_ascii_start());
    let is_signed =
        value.is_some_and(|value| value.get(..9).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"signature")));
    if !is_signed {
        return Ok(());
    }
    if !may_have_body(&head.method) {
        return match body.is_empty() {
            true => Ok(()),
            false => Err(Refusal::unauthenticated(format!("A {} has no body, so none was signed.", head.method))),
        };
    }
    let stated = joined(&head.headers, BODY_HASH_HEADER).unwrap_or_default();
    let stated = STANDARD.decode(&stated).unwrap_or_default();
    if stated != digest::digest(&digest::SHA256, body).as_ref() {
        let message = "The body is not the one that was signed: its SHA-256 is not that of x-content-sha256.";
        return Err(Refusal::unauthenticated(message));
    }
    Ok(())
}

/// A reason as it follows the name of a header, without what belongs to bodies.
fn fitting(why: &str) -> String {
    why.chars().take(200).collect()
}
