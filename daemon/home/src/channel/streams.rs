//! The streams of one channel: who may send how much, what was begun and what has ended. What a request means is for who
//! [`Answers`].

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use super::frame::{self, CREDIT, Frame, FrameError, Head, Open, Reason};
use super::{Answers, Opened, request, socket};

/// Streams of one channel at a time.
const STREAMS: usize = 32;
/// Bytes of data of one frame on their way to the app.
const CHUNK: usize = 32 * 1024;
/// No app may save up more credit than this.
const CREDIT_MAX: usize = 64 * 1024 * 1024;
/// Frames of one stream that may wait for who takes them. Credit bounds their bytes; each also costs some memory of its own.
const FRAMES_MAX: usize = 2048;

/// What comes from the app on one stream. `None`: that was all.
pub type Incoming = mpsc::Receiver<Option<Vec<u8>>>;

/// The home's end of one stream.
#[derive(Clone)]
pub struct Pipe {
    stream: u32,
    outgoing: mpsc::Sender<Vec<u8>>,
    /// Bytes that the app takes.
    credit: Arc<Semaphore>,
    /// Bytes that the app may still send.
    window: Arc<Semaphore>,
}

/// The app is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl Pipe {
    async fn send(&self, frame: Vec<u8>) -> Result<(), Gone> {
        self.outgoing.send(frame).await.map_err(|_| Gone)
    }

    /// Sends the head of the answer.
    pub async fn head(&self, head: &Head) -> Result<(), Gone> {
        self.send(frame::head(self.stream, head)).await
    }

    /// Sends data that may be cut anywhere, as fast as the app takes it.
    pub async fn data(&self, bytes: &[u8]) -> Result<(), Gone> {
        for chunk in bytes.chunks(CHUNK) {
            self.message(chunk).await?;
        }
        Ok(())
    }

    /// Sends data in one piece, of at most [`frame::BODY_MAX`] bytes.
    pub async fn message(&self, bytes: &[u8]) -> Result<(), Gone> {
        let bytes_needed = u32::try_from(bytes.len()).map_err(|_| Gone)?;
        let permit = self.credit.acquire_many(bytes_needed).await;
        permit.map_err(|_| Gone)?.forget();
        self.send(frame::data(self.stream, bytes)).await
    }

    /// Says that this was all.
    pub async fn end(&self) -> Result<(), Gone> {
        self.send(frame::end(self.stream)).await
    }

    /// Ends the stream.
    pub async fn reset(&self, reason: Reason) -> Result<(), Gone> {
        self.send(frame::reset(self.stream, reason)).await
    }

    /// Lets the app send as many bytes as were used up.
    pub async fn used(&self, bytes: usize) -> Result<(), Gone> {
        self.window.add_permits(bytes);
        let bytes = u32::try_from(bytes).map_err(|_| Gone)?;
        self.send(frame::credit(self.stream, bytes)).await
    }
}

struct Entry {
    pipe: Pipe,
    /// `None` once the app has sent all.
    incoming: Option<mpsc::Sender<Option<Vec<u8>>>>,
    task: AbortHandle,
}

/// All streams of a channel.
pub struct Streams<A> {
    outgoing: mpsc::Sender<Vec<u8>>,
    answers: Arc<A>,
    opened: Opened,
    open: HashMap<u32, Entry>,
    tasks: JoinSet<u32>,
    last: u32,
}

impl<A: Answers> Streams<A> {
    /// No streams yet. Frames go to `outgoing`.
    pub fn new(outgoing: mpsc::Sender<Vec<u8>>, answers: Arc<A>, opened: Opened) -> Self {
        Self {
            outgoing,
            answers,
            opened,
            open: HashMap::new(),
            tasks: JoinSet::new(),
            last: 0,
        }
    }

    /// Takes in a frame. It never waits. May give a frame to send; after an error the channel ends.
    pub fn hear(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        let (stream, said) = frame::parse(bytes)?;
        match said {
            Ok(Frame::Open(open)) => return self.begin(stream, open),
            Err(reason) => {
                self.count(stream)?;
                return Ok(Some(frame::reset(stream, reason)));
            }
            Ok(Frame::Data(data)) => {
                // What still comes for a stream that has ended is of no use to anybody.
                let Some(entry) = self.open.get(&stream) else {
                    return Ok(None);
                };
                // Nothing says nothing, and would cost no credit.
                let Some(incoming) = entry.incoming.as_ref().filter(|_| !data.is_empty()) else {
                    return Ok(None);
                };
                let bytes = u32::try_from(data.len()).map_err(|_| FrameError)?;
                let room = entry.pipe.window.try_acquire_many(bytes);
                room.map_err(|_| FrameError)?.forget();
                return Ok(self.hand(stream, incoming.try_send(Some(data.to_vec()))));
            }
            Ok(Frame::End) => {
                let entry = self.open.get_mut(&stream);
                if let Some(incoming) = entry.and_then(|entry| entry.incoming.take()) {
                    return Ok(self.hand(stream, incoming.try_send(None)));
                }
            }
            Ok(Frame::Reset) => {
                if let Some(entry) = self.open.remove(&stream) {
                    entry.task.abort();
                }
            }
            Ok(Frame::Credit(bytes)) => {
                if let Some(entry) = self.open.get(&stream) {
                    let credit = &entry.pipe.credit;
                    if credit.available_permits() + bytes as usize > CREDIT_MAX {
                        return Err(FrameError);
                    }
                    credit.add_permits(bytes as usize);
                }
            }
        }
        Ok(None)
    }

    /// A stream on which more waits than may is over: gives the frame that says so.
    fn hand<T>(&mut self, stream: u32, handed: Result<(), TrySendError<T>>) -> Option<Vec<u8>> {
        let Err(TrySendError::Full(_)) = handed else {
            return None; // nobody listens any more where it is closed
        };
        let entry = self.open.remove(&stream)?;
        entry.task.abort();
        Some(frame::reset(stream, Reason::TooMany))
    }

    /// Each number begins one stream, and they go up.
    fn count(&mut self, stream: u32) -> Result<(), FrameError> {
        if stream <= self.last {
            return Err(FrameError);
        }
        self.last = stream;
        Ok(())
    }

    fn begin(&mut self, stream: u32, open: Open) -> Result<Option<Vec<u8>>, FrameError> {
        self.count(stream)?;
        if self.open.len() >= STREAMS {
            return Ok(Some(frame::reset(stream, Reason::TooMany)));
        }
        let pipe = Pipe {
            stream,
            outgoing: self.outgoing.clone(),
            credit: Arc::new(Semaphore::new(CREDIT as usize)),
            window: Arc::new(Semaphore::new(CREDIT as usize)),
        };
        let (sender, incoming) = mpsc::channel(FRAMES_MAX);
        let (ours, answers, opened) =
            (pipe.clone(), Arc::clone(&self.answers), self.opened.clone());
        let task = self.tasks.spawn(async move {
            // Where the app is gone there is nobody left to tell.
            let _ = match open {
                Open::Socket { socket } => {
                    socket::run(&*answers.dialer(), &socket, &ours, incoming).await
                }
                Open::Request {
                    method,
                    path,
                    headers,
                } => {
                    let asked = request::Asked {
                        method,
                        path,
                        headers,
                        opened,
                    };
                    request::run(answers, asked, &ours, incoming).await
                }
            };
            stream
        });
        let entry = Entry {
            pipe,
            incoming: Some(sender),
            task,
        };
        self.open.insert(stream, entry);
        Ok(None)
    }

    /// Waits for the end of a stream and forgets it.
    pub async fn tidy(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(stream)) => drop(self.open.remove(&stream)),
            // One that the app had cancelled is forgotten already.
            Some(Err(_)) => {}
            None => future::pending().await,
        }
    }
}
