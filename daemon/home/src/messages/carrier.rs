//! The connection of a home to one space (or relay) for its people's messages: one for all of them. It collects as the
//! home, under the collecting key, and speaks as a person only to permit that, and to send. It ends when nobody needs
//! it, and is begun again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use nostr::event::Event;
use nostr::key::{Keys, PublicKey};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::client::{self, Broken, Client as Socket, Heard, PEOPLE};
use crate::dialer::ServiceName;
use crate::messages::error::MessageError;
use crate::messages::mailbox::Mailbox;
use crate::messages::wraps::{self, EPHEMERAL_GIFT_WRAP, GIFT_WRAP};
use crate::messages::{Client, Messages, blocking};

/// Silence after which the space is asked whether it is still there, and what it may take to answer.
const SILENCE: Duration = Duration::from_secs(10);
/// How long an answer to a question may take.
const ANSWER: Duration = Duration::from_secs(30);
/// How long an answer waits for who asked.
const ANSWER_WAITS: Duration = Duration::from_secs(1);
/// Waiting before the second attempt.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Waiting when a space says that something comes too fast.
const TOO_FAST: Duration = Duration::from_secs(2);
/// Wraps that are kept at once.
const AT_ONCE: usize = 64;
/// Answers that wait to be taken.
const ANSWERS: usize = 32;

/// Keeps a connection up until nobody needs it.
pub async fn run(messages: Arc<Messages>, service: ServiceName) {
    let mut stop = messages.stop.subscribe();
    let mut wait = FIRST_WAIT;
    loop {
        let mut changed = messages.changed.subscribe();
        let (this, name) = (Arc::clone(&messages), service.clone());
        let needed = blocking(move || Ok(!this.clients(&name).is_empty())).await;
        if !needed.unwrap_or(false) {
            return;
        }
        let ended = tokio::select! {
            ended = once(&messages, &service, &mut wait) => ended,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        messages.set_reached(&service, false);
        log::debug!("messages: the connection to {service} ended: {ended}");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stop.wait_for(|stop| *stop) => return,
            // Somebody wants something: it is tried at once, but not in a hurry.
            () = async {
                tokio::time::sleep(FIRST_WAIT).await;
                let _ = changed.changed().await;
            } => {}
        }
        wait = (wait * 2).min(messages.limits.message_wait);
    }
}

async fn once(messages: &Arc<Messages>, service: &ServiceName, wait: &mut Duration) -> Broken {
    let opened = client::open(&*messages.dialer, service, &messages.clock).await;
    let (socket, pump, heard) = match opened {
        Ok(opened) => opened,
        Err(why) => return why,
    };
    let (answers, answered) = mpsc::channel(ANSWERS);
    let carrier = Carrier {
        messages: Arc::clone(messages),
        service: service.clone(),
        socket,
        answers: answered,
        people: HashSet::new(),
        collects: BTreeSet::new(),
        refused: HashSet::new(),
        sealed: HashSet::new(),
        asked: HashSet::new(),
        has_members: false,
    };
    tokio::select! {
        why = pump.run(|| SILENCE) => why,
        why = listen(messages, service, heard, answers) => why,
        why = carrier.work(wait) => why.err().unwrap_or_else(|| "nobody needs it".into()),
    }
}

/// Takes in what the space says; what belongs to a question goes to who asked.
async fn listen(
    messages: &Arc<Messages>,
    service: &ServiceName,
    mut heard: mpsc::Receiver<Heard>,
    answers: mpsc::Sender<Heard>,
) -> Broken {
    let mut next = Vec::with_capacity(AT_ONCE);
    loop {
        if heard.recv_many(&mut next, AT_ONCE).await == 0 {
            // The pump has the reason.
            return std::future::pending().await;
        }
        let mut wraps: HashMap<PublicKey, Vec<Event>> = HashMap::new();
        let mut others = Vec::new();
        for heard in next.drain(..) {
            match heard {
                Heard::Event(event) => match event.kind.as_u16() {
                    GIFT_WRAP => {
                        if let Some(person) = wraps::receiver(&event) {
                            wraps.entry(person).or_default().push(*event);
                        }
                    }
                    EPHEMERAL_GIFT_WRAP => {
                        let person = wraps::receiver(&event);
                        if let Some(mailbox) = person.and_then(|p| messages.of_person(&p)) {
                            let now = messages.now();
                            let _ = blocking(move || {
                                mailbox.hear(&event, now);
                                Ok(())
                            })
                            .await;
                        }
                    }
                    13534 => {
                        messages.set_members(service, &event);
                        messages.bump();
                    }
                    10050 => {
                        messages.set_list(&event);
                        others.push(Heard::Event(event));
                    }
                    _ => others.push(Heard::Event(event)),
                },
                other => others.push(other),
            }
        }
        for (person, wraps) in wraps {
            keep(messages, service, &person, wraps).await;
        }
        for other in others {
            // An answer that nobody waits for is of no use.
            let _ = tokio::time::timeout(ANSWER_WAITS, answers.send(other)).await;
        }
    }
}

async fn keep(
    messages: &Arc<Messages>,
    service: &ServiceName,
    person: &PublicKey,
    wraps: Vec<Event>,
) {
    let Some(mailbox) = messages.of_person(person) else {
        return;
    };
    let (this, from_relay) = (
        Arc::clone(messages),
        messages.relay.as_ref() == Some(service),
    );
    let taken = blocking(move || {
        let knows = this.knows(&mailbox);
        mailbox.take(wraps, from_relay, &knows, this.now())
    });
    match taken.await {
        Ok(()) => messages.bump(), // there may be receipts to send
        // They stay where they are, and come when there is room.
        Err(error) => log::warn!("private messages were not taken: {error}"),
    }
}

/// The side that asks, sends and permits.
pub struct Carrier {
    pub messages: Arc<Messages>,
    pub service: ServiceName,
    pub socket: Socket,
    pub answers: mpsc::Receiver<Heard>,
    /// Who speaks on this connection, beside the home.
    pub people: HashSet<PublicKey>,
    /// For whom the home listens.
    pub collects: BTreeSet<PublicKey>,
    /// Whose permission the space did not take, on this connection.
    pub refused: HashSet<PublicKey>,
    /// Accounts that are sealed, and of whose permission the space knows nothing.
    pub sealed: HashSet<PublicKey>,
    /// Whose lists of relays the space was asked for.
    pub asked: HashSet<PublicKey>,
    pub has_members: bool,
}

impl Carrier {
    async fn work(mut self, wait: &mut Duration) -> Result<(), Broken> {
        let mut flashes = self.messages.flashes.subscribe();
        let mut changed = self.messages.changed.subscribe();
        self.socket.log_in(&self.messages.collector.clone()).await?;
        loop {
            changed.borrow_and_update();
            let (messages, service) = (Arc::clone(&self.messages), self.service.clone());
            let clients = blocking(move || Ok(messages.clients(&service))).await;
            let clients = clients.map_err(|error| error.to_string())?;
            if clients.is_empty() {
                return Ok(());
            }
            self.permit(&clients).await?;
            *wait = FIRST_WAIT;
            if !self.messages.is_reached(&self.service) {
                self.messages.set_reached(&self.service, true);
                self.messages.bump(); // others need not carry what can go this way
            }
            self.collect(&clients).await?;
            self.find_lists(&clients).await?;
            self.deliver(&clients).await?;
            tokio::select! {
                _ = changed.changed() => {}
                answer = self.answers.recv() => match answer {
                    Some(Heard::Closed(name, _)) if name == "live" => self.collects.clear(),
                    // Somebody left or came.
                    Some(Heard::Closed(name, _)) if name == "members" => self.has_members = false,
                    Some(_) => {}
                    None => return Err("the connection ended".into()),
                },
                // Who was no member may have become one.
                () = tokio::time::sleep(self.messages.limits.message_wait), if !self.refused.is_empty() => {
                    self.refused.clear();
                }
                flash = flashes.recv() => if let Ok((person, wrap)) = flash {
                    self.flash(&clients, &person, &wrap).await?;
                }
            }
        }
    }

    /// Asks, and waits until everything stored was sent; the error is the space's reason for not answering.
    pub async fn ask(
        &mut self,
        name: &str,
        filter: Value,
    ) -> Result<Result<Vec<Event>, String>, Broken> {
        self.socket.say(&json!(["REQ", name, filter])).await?;
        let mut events = Vec::new();
        loop {
            match self.answer().await? {
                Heard::Event(event) => events.push(*event),
                Heard::Complete(of) if of == name => return Ok(Ok(events)),
                Heard::Closed(of, why) if of == name => return Ok(Err(why)),
                Heard::Closed(of, _) if of == "live" => self.collects.clear(),
                _ => {}
            }
        }
    }

    pub async fn answer(&mut self) -> Result<Heard, Broken> {
        match tokio::time::timeout(ANSWER, self.answers.recv()).await {
            Ok(Some(heard)) => Ok(heard),
            Ok(None) => Err("the connection ended".into()),
            Err(_) => Err("no answer in time".into()),
        }
    }

    /// Proves to be a person, and looks who else is a member.
    pub async fn log_in(&mut self, keys: &Keys, belongs: bool) -> Result<(), Broken> {
        let person = keys.public_key();
        if !self.people.contains(&person) {
            if self.people.len() >= PEOPLE {
                return Err("it speaks for as many people as it may".into());
            }
            self.socket.log_in(keys).await?;
            self.people.insert(person);
        }
        if belongs && !self.has_members {
            let asked = self.ask("members", json!({"kinds": [13534]})).await?;
            self.has_members = asked.is_ok();
        }
        Ok(())
    }

    /// Gives the space what it can carry.
    async fn deliver(&mut self, clients: &[Client]) -> Result<(), Broken> {
        for client in clients {
            let Some(keys) = &client.keys else { continue };
            if client.belongs.is_some() && !self.has_members {
                let mailbox = Arc::clone(&client.mailbox);
                let receivers = blocking(move || Ok(mailbox.receivers())).await;
                if receivers.is_ok_and(|receivers| !receivers.is_empty()) {
                    self.log_in(keys, true).await?; // tells who is a member
                }
            }
            loop {
                let next = self.next(&client.mailbox).await;
                let Some(moving) = next.map_err(|error| error.to_string())? else {
                    break;
                };
                self.log_in(keys, client.belongs.is_some()).await?;
                match self.socket.ask("EVENT", &moving.wrap).await? {
                    (true, _) => {
                        let (mailbox, id) = (Arc::clone(&client.mailbox), moving.wrap.id);
                        let by = self.service.to_string();
                        let done = blocking(move || mailbox.delivered(&id, &by)).await;
                        done.map_err(|error| error.to_string())?;
                    }
                    (false, why) if is_passing(&why) => {
                        drop(moving);
                        tokio::time::sleep(TOO_FAST).await;
                        return Err(why);
                    }
                    (false, why) => {
                        log::debug!("{}: {why}", self.service);
                        client
                            .mailbox
                            .put_back(&moving.wrap.id, Some(&self.service));
                    }
                }
            }
        }
        Ok(())
    }

    /// The next wrap of a person that goes this way.
    async fn next(&self, mailbox: &Arc<Mailbox>) -> Result<Option<Moving>, MessageError> {
        let (messages, service) = (Arc::clone(&self.messages), self.service.clone());
        let mailbox = Arc::clone(mailbox);
        blocking(move || {
            let spaces: BTreeSet<ServiceName> = mailbox.spaces().into_keys().collect();
            let can = |to: &PublicKey| messages.can_carry(&service, &spaces, &mailbox.person, to);
            let next = mailbox.next_outgoing(&service, &can)?;
            Ok(next.map(|next| Moving {
                mailbox: Arc::clone(&mailbox),
                wrap: next.wrap,
            }))
        })
        .await
    }

    /// Sends a sign that somebody writes, if the receiver is here.
    async fn flash(
        &mut self,
        clients: &[Client],
        from: &PublicKey,
        wrap: &Event,
    ) -> Result<(), Broken> {
        let client = clients.iter().find(|client| client.mailbox.person == *from);
        let to = wraps::receiver(wrap);
        let (Some(client), Some(to)) = (client, to) else {
            return Ok(());
        };
        if let (Some(keys), Some(_)) = (&client.keys, client.belongs) {
            self.log_in(keys, true).await?; // tells who is a member
        }
        let (mailbox, service) = (Arc::clone(&client.mailbox), self.service.clone());
        let messages = Arc::clone(&self.messages);
        let from = *from;
        let can = blocking(move || {
            let spaces: BTreeSet<ServiceName> = mailbox.spaces().into_keys().collect();
            Ok(messages.can_carry(&service, &spaces, &from, &to))
        });
        if let (Some(keys), Ok(true)) = (&client.keys, can.await) {
            self.log_in(keys, client.belongs.is_some()).await?;
            let _ = self.socket.ask("EVENT", wrap).await?;
        }
        Ok(())
    }
}

/// A wrap that is being given to a space. Whatever ends that, it can be given again.
struct Moving {
    mailbox: Arc<Mailbox>,
    wrap: Event,
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.mailbox.put_back(&self.wrap.id, None);
    }
}

/// Whether a refusal is of the moment, and not of the thing.
pub fn is_passing(why: &str) -> bool {
    ["rate-limited:", "error:", "closed:"]
        .iter()
        .any(|prefix| why.starts_with(prefix))
        || why.starts_with("restricted: too many")
}
