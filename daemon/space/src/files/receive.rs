//! Takes the bytes of a request into a file: a buffer at a time, and only as fast as the disk takes them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};

use super::blobs::Draft;
use super::refusal::Refusal;
use crate::core::Core;

/// Bytes that are written at a time.
pub const BUFFER: usize = 64 * 1024;
/// Bytes after which an upload that can be resumed is made safe on its way.
pub const KEEP_EVERY: u64 = 16 << 20;

/// What to take.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Bytes at the beginning that are here already.
    pub skip: u64,
    /// Bytes the draft may have in the end.
    pub end: u64,
    /// Whether to make it safe on its way, so that it can be resumed.
    pub is_kept: bool,
}

/// Reads a body to its end into a draft. Gives the draft back, also after a failure. `give_way` ends it early.
pub async fn receive<B>(
    core: &Arc<Core>,
    mut body: B,
    draft: Box<dyn Draft>,
    plan: Plan,
    give_way: impl Future<Output = ()>,
) -> (Option<Box<dyn Draft>>, Result<(), Refusal>)
where
    B: Body<Data = Bytes> + Unpin,
{
    let stall = Duration::from_secs(core.files.limits.stall_seconds);
    let mut writing = Writing {
        kept: draft.length(),
        draft: Some(draft),
        buffer: Vec::with_capacity(BUFFER),
        core: Arc::clone(core),
        plan,
    };
    tokio::pin!(give_way);
    let result = loop {
        let frame = tokio::select! {
            biased;
            () = &mut give_way => break Err(Refusal::TakenOver),
            frame = tokio::time::timeout(stall, body.frame()) => frame,
        };
        match frame {
            Err(_) => break Err(Refusal::Stalled),
            Ok(None) => break Ok(()),
            Ok(Some(Err(_))) => break Err(Refusal::Broken),
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data()
                    && let Err(refusal) = writing.take(data).await
                {
                    break Err(refusal);
                }
            }
        }
    };
    // What came before a connection broke counts for an upload that can be resumed.
    let flushed = if result.is_ok() || plan.is_kept {
        writing.flush(plan.is_kept).await
    } else {
        Ok(())
    };
    (writing.draft, result.and(flushed))
}

struct Writing {
    draft: Option<Box<dyn Draft>>,
    buffer: Vec<u8>,
    kept: u64,
    core: Arc<Core>,
    plan: Plan,
}

impl Writing {
    async fn take(&mut self, mut data: Bytes) -> Result<(), Refusal> {
        let skipped = (data.len() as u64).min(self.plan.skip);
        self.plan.skip -= skipped;
        // Not longer than the data: fits.
        let _ = data.split_to(usize::try_from(skipped).unwrap_or(data.len()));
        while !data.is_empty() {
            let room = BUFFER - self.buffer.len();
            let part = data.split_to(room.min(data.len()));
            self.buffer.extend_from_slice(&part);
            if self.buffer.len() == BUFFER {
                self.flush(false).await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self, keep: bool) -> Result<(), Refusal> {
        let Some(mut draft) = self.draft.take() else {
            return Err(Refusal::Trouble);
        };
        let length = draft.length() + self.buffer.len() as u64;
        if length > self.plan.end {
            self.draft = Some(draft);
            return Err(Refusal::Invalid("more bytes came than were announced"));
        }
        let keep = keep || (self.plan.is_kept && length >= self.kept + KEEP_EVERY);
        let mut buffer = std::mem::take(&mut self.buffer);
        let now = self.core.now();
        let done = tokio::task::spawn_blocking(move || {
            let mut written = draft.write(&buffer);
            if keep && written.is_ok() {
                written = draft.keep(now);
            }
            buffer.clear();
            (draft, buffer, written)
        });
        let (draft, buffer, written) = done.await.map_err(|_| Refusal::Trouble)?;
        self.draft = Some(draft);
        self.buffer = buffer;
        if keep {
            self.kept = length;
        }
        Ok(written?)
    }
}
