//! Loads on a relay: events from many clients at once, questions, one message to many listeners, idle connections. Each is
//! the same for every relay.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::people::{Person, mix, now};
use super::socket::{Socket, Utf8Bytes, patiently, publication};
use crate::error::{LabError, Result};

/// Most time that one load of events takes. A slow relay is measured by what it took until then.
const LOAD: Duration = Duration::from_secs(10);
/// How long a message may take to all who listen.
const ECHO: Duration = Duration::from_secs(5);

/// A client and what it is going to publish.
#[derive(Debug)]
pub struct Writer {
    /// Who writes.
    pub people: Vec<Person>,
    /// The messages, ready to be sent.
    pub messages: Vec<Utf8Bytes>,
}

impl Writer {
    /// `count` clients with `people` people each, who write `each` events. `first` is the number of the first person. The
    /// dates lie in the last hours.
    pub fn many(count: u32, people: u32, each: u32, first: u32) -> Result<Vec<Self>> {
        let now = now();
        (0..count)
            .map(|n| {
                let people = (0..people)
                    .map(|p| Person::new(first + n * people + p))
                    .collect::<Result<Vec<_>>>()?;
                let messages = (0..each)
                    .map(|m| {
                        let number = u64::from(first + n) << 16 | u64::from(m);
                        let date = now - mix(number) % 40_000;
                        let person = &people[m as usize % people.len()];
                        let text = super::people::words(number);
                        person.message(date, &text).map(|event| publication(&event))
                    })
                    .collect::<Result<Vec<_>>>()?;
                Ok(Self { people, messages })
            })
            .collect()
    }
}

/// What a load of events gave.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Events that were taken.
    pub events: usize,
    /// Their bytes as JSON.
    pub bytes: usize,
    /// Seconds from the first to the last answer.
    pub seconds: f64,
    /// Milliseconds from each event to its answer, in order of size.
    pub ok_ms: Vec<f64>,
}

/// Connects the clients; where the relay is a space, all people join it.
pub async fn connect(
    at: SocketAddr,
    service: Option<&str>,
    writers: Vec<Writer>,
) -> Result<Vec<(Socket, Vec<Utf8Bytes>)>> {
    let mut joined = JoinSet::new();
    for writer in writers {
        let service = service.map(str::to_owned);
        joined.spawn(async move {
            let mut socket = Socket::open(at).await?;
            if let Some(service) = service {
                socket.enter(&service, &writer.people).await?;
            }
            Ok::<_, LabError>((socket, writer.messages))
        });
    }
    let mut ready = Vec::new();
    while let Some(client) = joined.join_next().await {
        ready.push(client.map_err(|error| LabError::answer("a client", &error.to_string()))??);
    }
    Ok(ready)
}

/// All clients publish at once, each its next event when the last one was answered: as soon as that, or with `every` when
/// so much time has passed since the one before.
pub async fn publish(
    clients: Vec<(Socket, Vec<Utf8Bytes>)>,
    every: Option<Duration>,
) -> Result<Taken> {
    let begin = Instant::now();
    let all = u32::try_from(clients.len()).unwrap_or(u32::MAX);
    let mut running = JoinSet::new();
    for (n, (mut socket, messages)) in (0..).zip(clients) {
        running.spawn(async move {
            let mut taken = Taken::default();
            // Spread evenly, as people are.
            let mut due = begin + every.unwrap_or_default() * n / all;
            for message in messages {
                if begin.elapsed() > LOAD {
                    break;
                }
                if let Some(every) = every {
                    tokio::time::sleep_until(due.into()).await;
                    due += every;
                }
                let sent = Instant::now();
                let bytes = message.len();
                socket.publish(message).await?;
                taken.ok_ms.push(sent.elapsed().as_secs_f64() * 1e3);
                taken.bytes += bytes;
                taken.events += 1;
            }
            taken.seconds = begin.elapsed().as_secs_f64();
            // The connections go away after the last answer, so that this is not measured.
            Ok::<_, LabError>((taken, socket))
        });
    }
    let mut all = Taken::default();
    let mut open = Vec::new();
    while let Some(client) = running.join_next().await {
        let (taken, socket) =
            client.map_err(|error| LabError::answer("a client", &error.to_string()))??;
        all.events += taken.events;
        all.bytes += taken.bytes;
        all.seconds = all.seconds.max(taken.seconds);
        all.ok_ms.extend(taken.ok_ms);
        open.push(socket);
    }
    all.ok_ms.sort_by(f64::total_cmp);
    Ok(all)
}

/// How long questions are asked, if they are not answered before: one of the peers takes many seconds for some.
const ASKING: Duration = Duration::from_secs(20);

/// `clients` ask `each` questions one after the other, others in each round: what somebody wrote last, a page of the
/// channel, what somebody wrote before. Questions answered, and how many a second.
pub async fn ask(
    at: SocketAddr,
    (clients, each, round): (u32, u32, u32),
    authors: &[String],
) -> Result<(u32, f64)> {
    let mut running = JoinSet::new();
    let now = now();
    let mut sockets = Vec::new();
    for _ in 0..clients {
        sockets.push(Socket::open(at).await?);
    }
    let begin = Instant::now();
    let end = tokio::time::Instant::now() + ASKING;
    for (n, mut socket) in sockets.into_iter().enumerate() {
        let authors = authors.to_vec();
        running.spawn(async move {
            let mut answered = 0;
            for question in 0..each {
                let random =
                    mix((u64::from(round) << 48) | ((n as u64) << 32) | u64::from(question));
                let author = &authors[random as usize % authors.len()];
                let until = now - random % 40_000;
                let filter = match question % 3 {
                    0 => format!("{{\"kinds\":[9],\"authors\":[\"{author}\"],\"limit\":20}}"),
                    1 => format!(
                        "{{\"kinds\":[9],\"#h\":[\"general\"],\"until\":{until},\"limit\":20}}"
                    ),
                    _ => format!("{{\"authors\":[\"{author}\"],\"until\":{until},\"limit\":5}}"),
                };
                let asked = async {
                    socket
                        .send(format!("[\"REQ\",\"q\",{filter}]").into())
                        .await?;
                    socket.wait_for("[\"EOSE\"").await
                };
                match tokio::time::timeout_at(end, asked).await {
                    Ok(result) => drop(result?),
                    Err(_) => break,
                }
                answered += 1;
            }
            Ok::<_, LabError>((socket, answered))
        });
    }
    let (mut open, mut all) = (Vec::new(), 0);
    while let Some(client) = running.join_next().await {
        let (socket, answered) =
            client.map_err(|error| LabError::answer("a client", &error.to_string()))??;
        open.push(socket); // until the last one is done, as people's programs would
        all += answered;
    }
    Ok((all, f64::from(all) / begin.elapsed().as_secs_f64()))
}

/// One writes `count` messages, 20 ms apart, and `listeners` others wait for each. Milliseconds from each message's sending
/// to each one's hearing it, in order of size.
pub async fn echo(
    at: SocketAddr,
    service: Option<&str>,
    listeners: u32,
    count: u32,
    number: u32,
) -> Result<Vec<f64>> {
    let (mut writer, person) = one_writer(at, service, number).await?;
    let begin = Instant::now();
    let since = now();
    let (heard, mut hears) = tokio::sync::mpsc::channel(listeners as usize);
    let mut tasks = JoinSet::new();
    for _ in 0..listeners {
        let mut socket = Socket::open(at).await?;
        let filter = format!("{{\"kinds\":[9],\"#h\":[\"general\"],\"since\":{since}}}");
        socket
            .send(format!("[\"REQ\",\"e\",{filter}]").into())
            .await?;
        socket.wait_for("[\"EOSE\"").await?;
        let heard = heard.clone();
        tasks.spawn(async move {
            while let Ok(text) = socket.next().await {
                if text.starts_with("[\"EVENT\"") && heard.send(begin.elapsed()).await.is_err() {
                    return;
                }
            }
        });
    }
    let mut samples = Vec::new();
    let mut every = tokio::time::interval(Duration::from_millis(20));
    for n in 0..count {
        let text = super::people::words(u64::from(n));
        let message = publication(&person.message(now(), &text)?);
        every.tick().await;
        let sent = begin.elapsed();
        writer.publish(message).await?;
        for _ in 0..listeners {
            let at = tokio::time::timeout(ECHO, hears.recv()).await;
            let at = at.ok().flatten().ok_or_else(|| LabError::Timeout {
                what: "a message to reach all listeners".into(),
                after: ECHO,
            })?;
            samples.push(at.saturating_sub(sent).as_secs_f64() * 1e3);
        }
    }
    samples.sort_by(f64::total_cmp);
    Ok(samples)
}

/// Opens connections that say nothing. A space's first word to each has come.
pub async fn idle(at: SocketAddr, count: u32, greets: bool) -> Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        let mut socket = Socket::open(at).await?;
        if greets {
            socket.wait_for("[\"AUTH\"").await?;
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// A connection for one writer.
pub async fn one_writer(
    at: SocketAddr,
    service: Option<&str>,
    number: u32,
) -> Result<(Socket, Person)> {
    let person = Person::new(number)?;
    let mut socket = Socket::open(at).await?;
    if let Some(service) = service {
        socket.enter(service, std::slice::from_ref(&person)).await?;
    }
    Ok((socket, person))
}

/// One event a second, `count` times. Their bytes as JSON.
pub async fn drip(mut socket: Socket, person: Person, count: u32) -> Result<usize> {
    let mut bytes = 0;
    let mut every = tokio::time::interval(Duration::from_secs(1));
    for n in 0..count {
        every.tick().await;
        let text = super::people::words(u64::from(n));
        let message = publication(&person.message(now(), &text)?);
        bytes += message.len();
        patiently("an answer", socket.publish(message)).await??;
    }
    Ok(bytes)
}

/// The value below which so many percent lie.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(f64::NAN)
}
