//! Pages of lists: how many a page has and where the next begins.
//!
//! A token is bound to its list, so that one given to another list is refused instead of cutting that at a place that
//! means nothing there. It names the item that the page ended with, not a count, so that what is made or deleted
//! meanwhile makes no item come twice or be left out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::{Head, Refusal};

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageToken {
    /// How many items were before.
    pub(crate) before: usize,
    /// The last of them.
    pub(crate) last: String,
}

/// The size of a page that a request asks for: `default` when it does not say, never more than `max`.
pub(crate) fn page_size(head: &Head, default: usize, max: usize) -> Result<usize, Refusal> {
    let Some(text) = head.query_value("pageSize").or_else(|| head.query_value("page_size")) else { return Ok(default) };
    match text.trim().parse::<i64>() {
        Ok(0) => Ok(default),
        Ok(size) if size > 0 => Ok(usize::try_from(size).unwrap_or(max).min(max)),
        _ => Err(Refusal::invalid_field("pageSize", format!("{text:?} is no whole number, zero or more"))),
    }
}

impl PageToken {
    /// The token of a request, if it has one; `list` names the list with all that decides what is in it.
    pub(crate) fn of(head: &Head, list: &str) -> Result<Option<PageToken>, Refusal> {
        let text = head.query_value("pageToken").or_else(|| head.query_value("page_token"));
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
        let foreign = || {
            let description = "is not one that this list gave: tokens hold for the list, parent and filter of the page that \
                they came with";
            Refusal::invalid_field("pageToken", description)
        };
        let bytes = URL_SAFE_NO_PAD.decode(&text).map_err(|_| foreign())?;
        let (tag, rest) = bytes.split_at_checked(TAG_BYTES).ok_or_else(foreign)?;
        let (before, last) = rest.split_at_checked(4).ok_or_else(foreign)?;
        let before = u32::from_le_bytes(before.try_into().map_err(|_| foreign())?);
        if tag != tag_of(list, rest) {
            return Err(foreign());
        }
        let last = String::from_utf8(last.to_vec()).map_err(|_| foreign())?;
        Ok(Some(PageToken { before: before as usize, last }))
    }

    /// The token as it is sent.
    pub(crate) fn encode(&self, list: &str) -> String {
        let mut rest = u32::try_from(self.before).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        rest.extend_from_slice(self.last.as_bytes());
        let mut out = tag_of(list, &rest).to_vec();
        out.extend_from_slice(&rest);
        URL_SAFE_NO_PAD.encode(out)
    }

    /// One page of `items`, and the token of the next where there is one.
    pub(crate) fn page<'i, T>(
        from: Option<&PageToken>,
        size: usize,
        items: &'i [T],
        id: impl Fn(&T) -> &str,
    ) -> (&'i [T], Option<PageToken>) {
        let start = match from {
            None => 0,
            Some(token) => match items.iter().position(|item| id(item) == token.last) {
                Some(at) => at + 1,
                // It is gone; what came after it moved up by at least that one.
                None => token.before.saturating_sub(1).min(items.len()),
            },
        };
        let end = items.len().min(start + size);
        let page = &items[start..end];
        let next = page.last().filter(|_| end < items.len());
        (page, next.map(|last| PageToken { before: end, last: id(last).to_owned() }))
    }
}

const TAG_BYTES: usize = 8;

/// No secret: it keeps mistakes out, and a made-up token could show nothing that a made-up page size could not.
fn tag_of(list: &str, rest: &[u8]) -> [u8; TAG_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(list.len() as u64).to_le_bytes());
    hasher.update(list.as_bytes());
    hasher.update(rest);
    *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")
}
