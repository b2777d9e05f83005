//! Reading the log from a cursor on: frames in order, each once, and a name for every range that cannot be had.

use std::sync::Arc;

use bytes::Bytes;
use event::{Position, Time};
use tokio::sync::watch;

use crate::error::FollowError;
use crate::frame::ALIGN;
use crate::log::{Shared, Tail};
use crate::segment::{FRAMES_CHUNK_BYTES, Found, Segment, SegmentReader};

/// What a follower meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// A frame.
    Frame {
        /// Where it stands.
        position: Position,
        /// The cursor to keep once it has been dealt with.
        next: Position,
        /// Its id.
        id: u128,
        /// Its dedup key.
        key: Option<[u8; 16]>,
        /// When it was received.
        at: Time,
        /// How many records it holds.
        records: u32,
        /// Its bytes: a slice of what was read at once (a megabyte or more), which it keeps in memory.
        payload: Bytes,
    },
    /// Frames that retention let go before this follower read them. Going on at `to`.
    Lost {
        /// The cursor.
        from: Position,
        /// The first position that is kept.
        to: Position,
    },
    /// Frames that were durable once but cannot be read any more. Going on at `to`.
    Damaged {
        /// The first bad byte.
        from: Position,
        /// Where the next readable frame stands, or the segment's end.
        to: Position,
    },
}

/// A reader with a cursor. Independent of the log's handles: it reads on after they are gone.
pub struct Follower {
    shared: Arc<Shared>,
    tail: watch::Receiver<Tail>,
    /// The next offset to read.
    at: u64,
    reader: Option<SegmentReader>,
    /// Whether `changed` has said that nothing will come.
    told_over: bool,
}

impl Follower {
    pub(crate) fn new(shared: Arc<Shared>, from: Option<Position>) -> Result<Follower, FollowError> {
        let tail = shared.tail.subscribe();
        let end = shared.position(tail.borrow().end);
        let at = match from {
            None => shared.segments().first().map_or(end.offset, |first| first.base()),
            Some(cursor) if cursor.epoch != shared.epoch => {
                return Err(FollowError::OtherEpoch { cursor, epoch: shared.epoch });
            }
            Some(cursor) if cursor.offset > end.offset => return Err(FollowError::Ahead { cursor, end }),
            Some(cursor) => cursor.offset,
        };
        Ok(Follower { shared, tail, at, reader: None, told_over: false })
    }

    /// The next thing, or `None` when it is caught up with what is durable. Blocks for reads of a megabyte or more.
    /// After an error the same place is tried again.
    pub fn read(&mut self) -> Result<Option<Followed>, FollowError> {
        loop {
            // The end before the list: a segment that joins the list in between begins at or behind this end.
            let durable_to = self.tail.borrow_and_update().end;
            if self.at >= durable_to {
                return Ok(None);
            }
            let at = self.at;
            let segments = self.shared.segments();
            let Some((segment, end)) = segment_at(&segments, at, durable_to) else {
                let to = segments.first().map_or(durable_to, |first| first.base());
                return Ok(Some(self.lost(to)));
            };
            let same = self.reader.as_ref().is_some_and(|reader| *reader.header() == segment.header);
            if !same {
                match segment.reader(&*self.shared.disk, FRAMES_CHUNK_BYTES) {
                    Ok(reader) => self.reader = Some(reader),
                    Err(_) if let_go(&self.shared, at) => continue,
                    Err(source) => {
                        return Err(FollowError::Disk { what: format!("open {}", segment.file_name()), source });
                    }
                }
            }
            let Follower { shared, reader, .. } = &mut *self;
            let reader = reader.as_mut().expect("it was opened above");
            let found = reader.frame(at, end);
            let to = match found {
                Ok(Found::Frame(head, payload)) => {
                    self.at += head.frame_bytes();
                    let (position, next) = (self.shared.position(at), self.shared.position(self.at));
                    let (id, key, at, records) = (head.id, head.key, head.at, head.records);
                    return Ok(Some(Followed::Frame { position, next, id, key, at, records, payload }));
                }
                // Not what was written: the segment's file may have become another segment meanwhile.
                _ if let_go(shared, at) => continue,
                Ok(Found::BadPayload(head)) => Ok(at + head.frame_bytes()),
                Ok(Found::Nothing) => {
                    reader.next_head(at + ALIGN, end).map(|next| next.map_or(end, |(offset, _)| offset))
                }
                Err(error) => Err(error),
            };
            let to = match to {
                // Looked at again after the search, which takes longer than the look.
                _ if let_go(shared, at) => continue,
                Ok(to) => to,
                Err(source) => {
                    self.reader = None;
                    return Err(FollowError::Disk { what: format!("read {}", segment.file_name()), source });
                }
            };
            let (from, to) = (self.shared.position(at), self.shared.position(to));
            tracing::error!(%from, %to, "a range of the log is damaged");
            self.at = to.offset;
            return Ok(Some(Followed::Damaged { from, to }));
        }
    }

    /// How many bytes the next frame has, for those who must have room before they read it; `None` when it is caught up, and
    /// where [`Follower::read`] has something else to say.
    pub fn next_bytes(&mut self) -> Option<u64> {
        let durable_to = self.tail.borrow_and_update().end;
        if self.at >= durable_to {
            return None;
        }
        let segments = self.shared.segments();
        let (segment, end) = segment_at(&segments, self.at, durable_to)?;
        if self.reader.as_ref().is_none_or(|reader| *reader.header() != segment.header) {
            self.reader = Some(segment.reader(&*self.shared.disk, FRAMES_CHUNK_BYTES).ok()?);
        }
        let head = self.reader.as_mut().expect("it was opened above").head(self.at, end).ok()??;
        Some(head.frame_bytes())
    }

    /// Waits until there is something to read: true. False when there is not and never will be, since the log is closed or
    /// failed and this follower has read it to its end. It says so once; asked again it waits for ever, so that a loop
    /// that does not look at the answer does not spin.
    pub async fn changed(&mut self) -> bool {
        loop {
            let tail = *self.tail.borrow_and_update();
            if self.at < tail.end {
                return true;
            }
            if !tail.over && self.tail.changed().await.is_ok() {
                continue;
            }
            if self.told_over {
                std::future::pending::<()>().await;
            }
            self.told_over = true;
            return false;
        }
    }

    /// The cursor: where the next [`Follower::read`] begins.
    pub fn position(&self) -> Position {
        self.shared.position(self.at)
    }

    fn lost(&mut self, to: u64) -> Followed {
        let from = self.position();
        self.at = to;
        self.reader = None;
        Followed::Lost { from, to: self.position() }
    }
}

/// The segment that a place is in, and where its frames end; `None` where the place is not kept any more.
fn segment_at(segments: &[Arc<Segment>], at: u64, durable_to: u64) -> Option<(&Arc<Segment>, u64)> {
    let index = segments.partition_point(|segment| segment.base() <= at).checked_sub(1)?;
    let end = segments.get(index + 1).map_or(durable_to, |next| next.base());
    Some((&segments[index], end))
}

/// Whether this place is not kept any more. Then the next look at the list says what was lost.
fn let_go(shared: &Shared, at: u64) -> bool {
    shared.segments().first().is_none_or(|first| first.base() > at)
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("position", &self.position()).finish_non_exhaustive()
    }
}
