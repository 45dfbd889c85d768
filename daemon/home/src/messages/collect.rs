//! What a carrier does for its people beside sending: permits that this home collects, fetches what is missing (NIP-77),
//! listens, keeps the space's mailbox small, and finds out where others take messages.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use nostr::event::{Event, EventId};
use nostr::key::{Keys, PublicKey};
use serde_json::{Value, json};

use crate::client::{Broken, Heard, signed};
use crate::messages::carrier::{Carrier, is_passing};
use crate::messages::mailbox::Mailbox;
use crate::messages::sync::{Comparison, Step};
use crate::messages::wraps::{self, EPHEMERAL_GIFT_WRAP, GIFT_WRAP};
use crate::messages::{Client, blocking};

/// Ids in one question, and in one deletion (a space takes 100).
const IDS: usize = 100;
/// Homes that a person's permission may name.
const HOMES: usize = 8;

impl Carrier {
    /// Has people permit that this home collects, and tell that they can be written to.
    pub async fn permit(&mut self, clients: &[Client]) -> Result<(), Broken> {
        for client in clients {
            let (Some(keys), Some(false)) = (&client.keys, client.belongs) else {
                continue;
            };
            if self.refused.contains(&client.mailbox.person) {
                continue;
            }
            self.log_in(keys, true).await?;
            let collector = self.messages.collector.public_key().to_hex();
            let d = [vec!["d".to_owned(), "warren/collect".to_owned()]];
            let filter =
                json!({"kinds": [30078], "authors": [keys.public_key()], "#d": ["warren/collect"]});
            let permitted = self
                .add(keys, 30078, filter, &d, "p", &collector, HOMES)
                .await?;
            let relay = self.messages.relay.as_ref().unwrap_or(&self.service);
            let relay = format!("ws://{relay}.warren/");
            let filter = json!({"kinds": [10050], "authors": [keys.public_key()]});
            if let Err(why) = permitted {
                log::debug!("{}: {why}", self.service);
                self.refused.insert(client.mailbox.person);
                if why.starts_with("restricted:")
                    && self.messages.relay.as_ref() != Some(&self.service)
                {
                    self.note(&client.mailbox, false, false).await; // the person is no member (any more)
                }
                continue;
            }
            let listed = self
                .add(keys, 10050, filter, &[], "relay", &relay, 3)
                .await?;
            if let Err(why) = listed {
                log::debug!("{}: {why}", self.service);
            }
            self.note(&client.mailbox, true, true).await;
        }
        Ok(())
    }

    async fn note(&self, mailbox: &Arc<Mailbox>, belongs: bool, permits: bool) {
        let (mailbox, service) = (Arc::clone(mailbox), self.service.clone());
        let noted = blocking(move || mailbox.note_space(&service, belongs, permits)).await;
        if let Err(error) = noted {
            log::error!("{error}");
        }
        self.messages.bump();
    }

    /// Adds a value to a replaceable event of a person, if it is not there; what their other programs wrote stays.
    #[allow(clippy::too_many_arguments)] // each is a part of one event
    async fn add(
        &mut self,
        keys: &Keys,
        kind: u16,
        filter: Value,
        tags: &[Vec<String>],
        name: &str,
        value: &str,
        most: usize,
    ) -> Result<Result<(), String>, Broken> {
        let found = match self.ask("own", filter).await? {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        self.socket.say(&json!(["CLOSE", "own"])).await?;
        let mine =
            |event: &&Event| event.kind.as_u16() == kind && event.pubkey == keys.public_key();
        let known = found
            .iter()
            .filter(mine)
            .max_by_key(|event| event.created_at);
        let mut values: Vec<String> = known
            .iter()
            .flat_map(|event| wraps::values(&event.tags, name))
            .map(str::to_owned)
            .collect();
        if values
            .iter()
            .any(|known| known.trim_end_matches('/') == value.trim_end_matches('/'))
        {
            return Ok(Ok(()));
        }
        values.insert(0, value.to_owned());
        values.truncate(most);
        let mut all = tags.to_vec();
        all.extend(values.into_iter().map(|value| vec![name.to_owned(), value]));
        let all: Vec<Vec<&str>> = all
            .iter()
            .map(|tag| tag.iter().map(String::as_str).collect())
            .collect();
        let all: Vec<&[&str]> = all.iter().map(Vec::as_slice).collect();
        let now = self.messages.now();
        let at = known.map_or(now, |event| now.max(event.created_at.as_secs() + 1));
        let event = signed(keys, kind, at, &all, "")?;
        match self.socket.ask("EVENT", &event).await? {
            (true, _) => Ok(Ok(())),
            (false, why) if is_passing(&why) => Err(why),
            (false, why) => Ok(Err(why)),
        }
    }

    /// Fetches what is missing of everybody who permitted it, and listens to what comes.
    pub async fn collect(&mut self, clients: &[Client]) -> Result<(), Broken> {
        let mut new = Vec::new();
        for client in clients {
            let person = client.mailbox.person;
            let is_hopeless = self.refused.contains(&person)
                || client.keys.is_none() && self.sealed.contains(&person);
            if client.belongs.is_none() || self.collects.contains(&person) || is_hopeless {
                continue;
            }
            // An account that is sealed may have permitted it without this home having noted it.
            match self.sync(client).await? {
                Ok(()) => new.push(client),
                Err(why) => {
                    log::debug!("{}: {why}", self.service);
                    if client.keys.is_none() {
                        self.sealed.insert(person);
                    } else if client.belongs == Some(true) {
                        self.permit_again(client).await?;
                    }
                }
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        self.collects
            .extend(new.iter().map(|client| client.mailbox.person));
        let people: Vec<String> = self.collects.iter().map(PublicKey::to_hex).collect();
        let filter = json!({"kinds": [GIFT_WRAP, EPHEMERAL_GIFT_WRAP], "#p": people, "limit": 0});
        if let Err(why) = self.ask("live", filter).await? {
            self.collects.clear();
            return Err(why);
        }
        for client in new {
            // What came between the two.
            self.sync(client).await??;
        }
        Ok(())
    }

    /// A permission was taken back, or is gone: it is given anew, once on each connection.
    async fn permit_again(&mut self, client: &Client) -> Result<(), Broken> {
        let again = Client {
            mailbox: Arc::clone(&client.mailbox),
            keys: client.keys.clone(),
            belongs: Some(false),
        };
        self.permit(std::slice::from_ref(&again)).await?;
        if let Err(why) = self.sync(client).await? {
            log::debug!("{}: {why}", self.service);
            self.refused.insert(client.mailbox.person);
        }
        self.messages.bump(); // the person's turn comes again
        Ok(())
    }

    /// Compares and fetches for one person (NIP-77). The error is the space's reason for not answering.
    async fn sync(&mut self, client: &Client) -> Result<Result<(), String>, Broken> {
        let mailbox = Arc::clone(&client.mailbox);
        let person = mailbox.person;
        let known = blocking(move || Ok(mailbox.known())).await;
        let known = known.map_err(|error| error.to_string())?;
        let (mut comparison, first) = Comparison::new(&known)?;
        let filter = json!({"kinds": [GIFT_WRAP], "#p": [person]});
        self.socket
            .say(&json!(["NEG-OPEN", "sync", filter, first]))
            .await?;
        let (missing, only_here) = loop {
            match self.answer().await? {
                Heard::Sync(name, message) if name == "sync" => match comparison.hear(&message)? {
                    Step::Send(next) => self.socket.say(&json!(["NEG-MSG", "sync", next])).await?,
                    Step::Done(there, here) => break (there, here),
                },
                Heard::SyncEnded(name, why) if name == "sync" => {
                    return if is_passing(&why) {
                        Err(why)
                    } else {
                        Ok(Err(why))
                    };
                }
                Heard::Closed(of, _) if of == "live" => self.collects.clear(),
                _ => {}
            }
        };
        self.socket.say(&json!(["NEG-CLOSE", "sync"])).await?;
        for ids in missing.chunks(IDS) {
            let filter = json!({"kinds": [GIFT_WRAP], "#p": [person], "ids": ids});
            if let Err(why) = self.ask("fetch", filter).await? {
                return Ok(Err(why));
            }
            self.socket.say(&json!(["CLOSE", "fetch"])).await?;
        }
        self.trim(client, known, &only_here).await?;
        Ok(Ok(()))
    }

    /// Deletes wraps at the space that are safe here, beyond those that the person's other apps may still want: a space
    /// keeps only so many for each person.
    async fn trim(
        &mut self,
        client: &Client,
        known: Vec<(u64, EventId)>,
        only_here: &[EventId],
    ) -> Result<(), Broken> {
        let Some(keys) = &client.keys else {
            return Ok(());
        };
        let only_here: HashSet<&EventId> = only_here.iter().collect();
        let mut there: Vec<_> = known
            .iter()
            .filter(|(_, id)| !only_here.contains(id))
            .collect();
        let most = self.messages.limits.wraps_left;
        if there.len() <= most + most / 10 {
            return Ok(());
        }
        there.sort_unstable();
        there.truncate(there.len() - most);
        self.log_in(keys, false).await?;
        for ids in there.chunks(IDS) {
            let ids: Vec<String> = ids.iter().map(|(_, id)| id.to_hex()).collect();
            let tags: Vec<[&str; 2]> = ids.iter().map(|id| ["e", id]).collect();
            let tags: Vec<&[&str]> = tags.iter().map(<[&str; 2]>::as_slice).collect();
            let deletion = signed(keys, 5, self.messages.now(), &tags, "")?;
            if let (false, why) = self.socket.ask("EVENT", &deletion).await? {
                log::debug!("{}: {why}", self.service);
                break;
            }
        }
        Ok(())
    }

    /// Asks where people take messages for whom something waits.
    pub async fn find_lists(&mut self, clients: &[Client]) -> Result<(), Broken> {
        let boxes: Vec<_> = clients
            .iter()
            .filter(|client| client.keys.is_some())
            .map(|client| Arc::clone(&client.mailbox))
            .collect();
        let receivers = blocking(move || Ok(boxes.iter().flat_map(|b| b.receivers()).collect()));
        let receivers: BTreeSet<PublicKey> = receivers.await.map_err(|error| error.to_string())?;
        let unknown: Vec<PublicKey> = receivers
            .into_iter()
            .filter(|person| !self.messages.is_listed(person) && !self.asked.contains(person))
            .take(IDS)
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        self.asked.extend(&unknown);
        let found = self
            .ask("lists", json!({"kinds": [10050], "authors": unknown}))
            .await?;
        self.socket.say(&json!(["CLOSE", "lists"])).await?;
        if found.is_ok_and(|found| !found.is_empty()) {
            self.messages.bump();
        }
        Ok(())
    }
}
