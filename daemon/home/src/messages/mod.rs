//! People's private messages (NIP-17) at their home: kept here, sealed; sent and collected through the spaces they
//! share with others, or through relays that people name for their messages (10050).
//!
//! | file | what |
//! |---|---|
//! | `wraps` | messages as they travel: seals and wraps made and opened |
//! | `lines`, `record` | the file behind one person's messages, and what stands in it |
//! | `index`, `book` | what is known of it while the account is sealed; the conversations while it is open |
//! | `mailbox`, `inner`, `view` | one person's messages as a whole, and as the interface shows them |
//! | `carrier`, `collect`, `sync` | the connection to one space: permissions, collecting (NIP-77), delivering |
//! | `collector` | the key under which this home collects |
//!
//! This file holds all of it together: whose messages there are, which spaces are needed, who is a member where.

pub mod book;
mod carrier;
mod collect;
mod collector;
pub mod error;
pub mod index;
pub mod inner;
pub mod lines;
pub mod mailbox;
pub mod record;
pub mod sync;
pub mod view;
pub mod wraps;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nostr::event::Event;
use nostr::key::{Keys, PublicKey};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::accounts::record::AccountId;
use crate::config::{Clock, HomeConfig, Limits};
use crate::dialer::{Dialer, ServiceName};
use crate::error::HomeError;
use crate::files;
use crate::people::People;
use error::MessageError;
use mailbox::Mailbox;
use record::TalkId;

/// People whose lists of relays (10050) are remembered.
const LISTS: usize = 4096;
/// Relays of one list.
const LISTED: usize = 8;
/// Members of one space that are remembered.
const MEMBERS: usize = 10_000;
/// Signs that somebody writes, on their way out.
const FLASHES: usize = 16;
/// What [`record::Record::Sent`] says when the receiver lives at this home, too.
const HERE: &str = "home";

/// What is known of spaces and people, as far as somebody needed to know.
#[derive(Default)]
struct Known {
    /// Spaces that can be reached now.
    reached: HashSet<ServiceName>,
    members: HashMap<ServiceName, HashSet<PublicKey>>,
    /// Where people take messages, and since when.
    lists: HashMap<PublicKey, (u64, Vec<ServiceName>)>,
}

/// All messages of a home.
pub struct Messages {
    dir: PathBuf,
    people: Arc<People>,
    dialer: Arc<dyn Dialer>,
    clock: Clock,
    limits: Limits,
    relay: Option<ServiceName>,
    collector: Keys,
    boxes: Mutex<HashMap<AccountId, Arc<Mailbox>>>,
    known: Mutex<Known>,
    carriers: Mutex<HashMap<ServiceName, JoinHandle<()>>>,
    typed: Mutex<HashMap<(AccountId, TalkId), Instant>>,
    /// Signs that somebody writes: who, and the wrap.
    flashes: broadcast::Sender<(PublicKey, Event)>,
    /// Changes when there may be something to do.
    changed: watch::Sender<u32>,
    stop: watch::Sender<bool>,
}

/// One person at one space, for its carrier.
struct Client {
    mailbox: Arc<Mailbox>,
    /// While the account is open.
    keys: Option<Keys>,
    /// Whether the person belongs there, and whether that was told that this home collects.
    belongs: Option<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what blocks where that is no harm.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MessageError> + Send + 'static,
) -> Result<T, MessageError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(MessageError::Broken(error.to_string())))
}

impl Messages {
    /// Reads what is known of everybody's messages. Blocks.
    pub fn open(
        config: &HomeConfig,
        people: Arc<People>,
        dialer: Arc<dyn Dialer>,
        clock: Clock,
    ) -> Result<Self, HomeError> {
        let dir = config.dir.join("messages");
        // The key first: where the directory is, it was there.
        let collector = collector::open(&config.dir.join("collector.key"))?;
        files::make_dir(&dir)?;
        let this = Self {
            collector,
            dir,
            people,
            dialer,
            clock,
            limits: config.limits.clone(),
            relay: config.relay.clone(),
            boxes: Mutex::default(),
            known: Mutex::default(),
            carriers: Mutex::default(),
            typed: Mutex::default(),
            flashes: broadcast::channel(FLASHES).0,
            changed: watch::channel(0).0,
            stop: watch::channel(false).0,
        };
        for path in files::list(&this.dir, "messages")? {
            let accounts = &this.people.accounts;
            let name = path.file_stem().and_then(|stem| stem.to_str());
            match accounts
                .ids()
                .into_iter()
                .find(|id| name == Some(id.as_str()))
            {
                Some(id) => drop(this.mailbox(&id)?),
                // The account was deleted when the plug was pulled.
                None => files::remove(&path).map_err(files::failed("remove", &path))?,
            }
        }
        Ok(this)
    }

    /// The key under which this home collects.
    pub fn collector(&self) -> PublicKey {
        self.collector.public_key()
    }

    /// What a home takes of what.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The time, seconds since 1970.
    pub fn now(&self) -> u64 {
        (self.clock)()
    }

    fn path(&self, account: &AccountId) -> PathBuf {
        self.dir.join(format!("{}.messages", account.as_str()))
    }

    /// The messages of an account. Blocks.
    fn mailbox(&self, account: &AccountId) -> Result<Arc<Mailbox>, HomeError> {
        let mut boxes = lock(&self.boxes);
        if let Some(mailbox) = boxes.get(account) {
            return Ok(Arc::clone(mailbox));
        }
        let person = self.people.accounts.account(account);
        let person = person.ok_or_else(|| HomeError::Damaged {
            path: self.path(account),
            what: "its account is gone".into(),
        })?;
        let (path, limits) = (self.path(account), self.limits.clone());
        let mailbox = Arc::new(Mailbox::open(path, person.public_key, limits)?);
        boxes.insert(account.clone(), Arc::clone(&mailbox));
        Ok(mailbox)
    }

    /// The messages of a person of this home.
    fn of_person(&self, person: &PublicKey) -> Option<Arc<Mailbox>> {
        let boxes = lock(&self.boxes);
        boxes
            .values()
            .find(|mailbox| mailbox.person == *person)
            .cloned()
    }

    /// The messages of an account, open. Blocks.
    pub fn opened(&self, account: &AccountId) -> Result<Arc<Mailbox>, MessageError> {
        let of = self.people.accounts.account(account);
        if of.is_some_and(|account| account.key.is_none()) {
            return Err(MessageError::KeyElsewhere);
        }
        let keys = self.people.accounts.keys(account);
        let keys = keys.ok_or(MessageError::Sealed)?;
        let mailbox = self.closed(account)?;
        if !mailbox.is_open() {
            mailbox.unseal(&keys, &self.knows(&mailbox), self.now())?;
            self.bump(); // there may be receipts to send, and what waited for the key
        }
        Ok(mailbox)
    }

    /// The messages of an account, whether or not they are open. Blocks.
    pub fn closed(&self, account: &AccountId) -> Result<Arc<Mailbox>, MessageError> {
        let mailbox = self.mailbox(account);
        mailbox.map_err(|error| MessageError::Broken(error.to_string()))
    }

    /// Works on the messages of an account, where blocking is no harm, and looks for what there is to do afterwards.
    pub async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        account: &AccountId,
        work: impl FnOnce(&Messages, &Mailbox) -> Result<T, MessageError> + Send + 'static,
    ) -> Result<T, MessageError> {
        let done = self.look(account, work).await;
        self.bump();
        done
    }

    /// Looks at the messages of an account, where blocking is no harm.
    pub async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        account: &AccountId,
        work: impl FnOnce(&Messages, &Mailbox) -> Result<T, MessageError> + Send + 'static,
    ) -> Result<T, MessageError> {
        let (this, account) = (Arc::clone(self), account.clone());
        blocking(move || work(&this, &*this.opened(&account)?)).await
    }

    /// Says that there may be something to do.
    pub fn bump(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Whether somebody is no stranger to a person: they share a space.
    fn knows<'a>(&'a self, mailbox: &Mailbox) -> impl Fn(&PublicKey) -> bool + 'a {
        let spaces = mailbox.spaces();
        move |person| {
            let known = lock(&self.known);
            let shared = spaces
                .keys()
                .filter(|space| self.relay.as_ref() != Some(space));
            let mut members = shared.filter_map(|space| known.members.get(space));
            members.any(|members| members.contains(person))
        }
    }

    /// Begins to collect and deliver, until [`Self::close`]. Needs a runtime.
    pub fn start(self: &Arc<Self>) {
        tokio::spawn(Arc::clone(self).run());
    }

    /// Ends all connections.
    pub fn close(&self) {
        self.stop.send_replace(true);
    }

    async fn run(self: Arc<Self>) {
        let mut stop = self.stop.subscribe();
        let mut opened = self.people.opened();
        let mut writers = self.people.writers();
        let mut changed = self.changed.subscribe();
        loop {
            let this = Arc::clone(&self);
            let done = blocking(move || this.follow_accounts()).await;
            if let Err(error) = done {
                log::error!("{error}");
            }
            self.begin_carriers().await;
            let wrote = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = opened.changed() => None,
                _ = changed.changed() => None,
                wrote = writers.recv() => wrote.ok(),
            };
            if let Some((person, service)) = wrote {
                self.note_space(&person, service).await;
            }
        }
    }

    /// A space took what somebody wrote: they belong to it.
    async fn note_space(self: &Arc<Self>, person: &PublicKey, service: ServiceName) {
        let account = self.people.accounts.by_person(person);
        let Some(account) = account.filter(|account| account.key.is_some()) else {
            return; // a guest, or somebody whose own app has their messages
        };
        let this = Arc::clone(self);
        let noted = blocking(move || {
            let mailbox = this.closed(&account.id)?;
            match mailbox.spaces().contains_key(&service) {
                true => Ok(()),
                false => mailbox.note_space(&service, true, false),
            }
        });
        match noted.await {
            Ok(()) => self.bump(),
            Err(error) => log::warn!("a person's space was not noted: {error}"),
        }
    }

    /// Opens and closes messages as accounts were, forgets those of accounts that are gone, and hands over what is for
    /// people of this home. Blocks.
    fn follow_accounts(&self) -> Result<(), MessageError> {
        let accounts = &self.people.accounts;
        for id in accounts.ids() {
            if accounts
                .account(&id)
                .is_none_or(|account| account.key.is_none())
            {
                continue; // its person's own app has its messages
            }
            let mailbox = self.closed(&id)?;
            match accounts.keys(&id) {
                Some(_) => drop(self.opened(&id)?),
                None => mailbox.seal(),
            }
            if let Some(relay) = &self.relay
                && !mailbox.spaces().contains_key(relay)
            {
                mailbox.note_space(relay, true, false)?;
            }
        }
        let gone: Vec<AccountId> = {
            let boxes = lock(&self.boxes);
            let gone = |id: &&AccountId| accounts.account(id).is_none();
            boxes.keys().filter(gone).cloned().collect()
        };
        for id in gone {
            lock(&self.boxes).remove(&id);
            files::remove(&self.path(&id))?;
        }
        self.hand_over()
    }

    /// What people of this home write to each other needs no space.
    fn hand_over(&self) -> Result<(), MessageError> {
        while self.hand_over_once()? {}
        Ok(())
    }

    fn hand_over_once(&self) -> Result<bool, MessageError> {
        let boxes: Vec<_> = lock(&self.boxes).values().cloned().collect();
        let mut moved = false;
        for from in &boxes {
            let others = |to: &PublicKey| *to != from.person && self.of_person(to).is_some();
            while let Some(outgoing) = from.next_here(&others)? {
                let Some(to) = self.of_person(&outgoing.to) else {
                    break;
                };
                let id = outgoing.wrap.id;
                match to.take(vec![outgoing.wrap], false, &|_| true, self.now()) {
                    Ok(()) => from.delivered(&id, HERE)?,
                    Err(error) => {
                        log::warn!("a message within the home was not taken: {error}");
                        break;
                    }
                }
                moved = true;
            }
        }
        Ok(moved)
    }

    /// Begins connections to the spaces and relays that are needed and have none.
    async fn begin_carriers(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let needed = blocking(move || Ok(this.needed()))
            .await
            .unwrap_or_default();
        let mut carriers = lock(&self.carriers);
        carriers.retain(|_, task| !task.is_finished());
        for service in needed {
            if carriers.len() >= self.limits.message_spaces {
                log::warn!("more spaces are needed for messages than this home connects to");
                return;
            }
            let begin = |service: &ServiceName| {
                tokio::spawn(carrier::run(Arc::clone(self), service.clone()))
            };
            carriers.entry(service).or_insert_with_key(begin);
        }
    }

    /// The services that somebody needs. Blocks.
    fn needed(&self) -> BTreeSet<ServiceName> {
        let boxes: Vec<_> = lock(&self.boxes).values().cloned().collect();
        let mut needed = BTreeSet::new();
        for mailbox in boxes {
            let receivers = match mailbox.is_open() {
                true => mailbox.receivers(),
                false => Vec::new(),
            };
            let spaces = mailbox.spaces();
            for to in receivers {
                needed.extend(self.elsewhere(&spaces.keys().cloned().collect(), &to));
            }
            needed.extend(spaces.into_keys());
        }
        needed
    }

    /// The relays by which somebody can be written to, while no space that both are in is reached.
    fn elsewhere(&self, spaces: &BTreeSet<ServiceName>, to: &PublicKey) -> Vec<ServiceName> {
        let known = lock(&self.known);
        let shared = |space: &ServiceName| {
            let members = known.members.get(space);
            known.reached.contains(space) && members.is_some_and(|members| members.contains(to))
        };
        match known.lists.get(to) {
            Some((_, relays)) if !spaces.iter().any(shared) => relays.clone(),
            _ => Vec::new(),
        }
    }

    /// Whether a service can carry something from a person to somebody.
    fn can_carry(
        &self,
        service: &ServiceName,
        spaces: &BTreeSet<ServiceName>,
        from: &PublicKey,
        to: &PublicKey,
    ) -> bool {
        let belongs = spaces.contains(service);
        let is_member = || {
            let known = lock(&self.known);
            let members = known.members.get(service);
            members.is_some_and(|members| members.contains(to))
        };
        (belongs && (from == to || is_member())) || self.elsewhere(spaces, to).contains(service)
    }

    /// Who needs a service. Blocks.
    fn clients(&self, service: &ServiceName) -> Vec<Client> {
        let boxes: Vec<_> = {
            let boxes = lock(&self.boxes);
            boxes
                .iter()
                .map(|(id, b)| (id.clone(), Arc::clone(b)))
                .collect()
        };
        let mut clients = Vec::new();
        for (id, mailbox) in boxes {
            let spaces = mailbox.spaces();
            let belongs = spaces.get(service).copied();
            let keys = self.people.accounts.keys(&id);
            let spaces = spaces.into_keys().collect();
            let sends = || {
                let mut to = mailbox.receivers().into_iter();
                to.any(|to| self.elsewhere(&spaces, &to).contains(service))
            };
            if belongs.is_some() || keys.is_some() && sends() {
                clients.push(Client {
                    mailbox,
                    keys,
                    belongs,
                });
            }
        }
        clients
    }

    fn set_reached(&self, service: &ServiceName, reached: bool) {
        let mut known = lock(&self.known);
        match reached {
            true => drop(known.reached.insert(service.clone())),
            false => drop(known.reached.remove(service)),
        }
    }

    /// Whether a service is reached now.
    pub fn is_reached(&self, service: &ServiceName) -> bool {
        lock(&self.known).reached.contains(service)
    }

    fn set_members(&self, service: &ServiceName, list: &Event) {
        let members = wraps::values(&list.tags, "member").take(MEMBERS);
        let members = members.filter_map(|person| PublicKey::from_hex(person).ok());
        let members = members.collect();
        lock(&self.known).members.insert(service.clone(), members);
    }

    /// Notes where somebody takes messages: what their list (10050) says.
    fn set_list(&self, list: &Event) {
        let relays = wraps::values(&list.tags, "relay").filter_map(named_service);
        let relays = relays.take(LISTED).collect();
        self.set_relays(list.pubkey, list.created_at.as_secs(), relays);
    }

    /// Notes where somebody takes messages.
    pub fn set_relays(&self, person: PublicKey, since: u64, relays: Vec<ServiceName>) {
        let mut known = lock(&self.known);
        if known.lists.len() >= LISTS && !known.lists.contains_key(&person) {
            known.lists.clear();
        }
        let (at, listed) = known.lists.entry(person).or_default();
        if *at <= since {
            (*at, *listed) = (since, relays);
        }
    }

    fn is_listed(&self, person: &PublicKey) -> bool {
        lock(&self.known).lists.contains_key(person)
    }

    /// Tells a conversation that the person writes. Not kept, and not more often than people can use.
    pub fn type_in(
        &self,
        account: &AccountId,
        mailbox: &Mailbox,
        talk: &TalkId,
    ) -> Result<(), MessageError> {
        let wraps = mailbox.typing(talk, self.now())?;
        let (now, key) = (Instant::now(), (account.clone(), *talk));
        let mut typed = lock(&self.typed);
        typed.retain(|_, at| at.elapsed() < self.limits.typing_every);
        if typed.contains_key(&key) {
            return Err(MessageError::Wait);
        }
        typed.insert(key, now);
        drop(typed);
        for wrap in wraps {
            match wraps::receiver(&wrap).and_then(|to| self.of_person(&to)) {
                Some(here) => here.hear(&wrap, self.now()),
                None => drop(self.flashes.send((mailbox.person, wrap))),
            }
        }
        Ok(())
    }
}

/// The service that an address of a relay names.
pub fn named_service(url: &str) -> Option<ServiceName> {
    let rest = url
        .strip_prefix("ws://")
        .or_else(|| url.strip_prefix("wss://"))?;
    ServiceName::parse(rest.trim_end_matches('/').strip_suffix(".warren")?)
}

/// Reads bytes as everything foreign that this module reads. For the fuzzer.
pub fn read_foreign(bytes: &[u8]) {
    let mut reader = bytes;
    let _ = lines::read_records(&mut reader, &mut |_, line| {
        if let Some(record) = lines::record(line) {
            let _ = record::Record::parse(record);
        }
    });
    sync::hear_foreign(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(record) = record::Record::parse(text) {
        let mut index = index::Index::default();
        index.apply(lines::Place::default(), &record);
        index.apply(lines::Place::default(), &record);
        let written = record.text().expect("it was JSON before");
        assert!(record::Record::parse(&written) == Some(record));
    }
    let _ = named_service(text);
    // What came out of a wrap, from somebody else.
    if let Ok(mut rumor) = serde_json::from_str::<nostr::event::UnsignedEvent>(text)
        && rumor.verify_id().is_ok()
    {
        let keys = Keys::generate();
        rumor
            .tags
            .push(nostr::event::Tag::public_key(keys.public_key()));
        rumor.id = Some(rumor.compute_id());
        let mut book = book::Book::new(keys);
        let limits = Limits::default();
        if let (Ok(at), Some(id)) = (book.judge(&rumor, true, 1_750_000_000, &limits), rumor.id) {
            let kept = record::Kept {
                number: book.number(),
                at,
                stranger: true,
                client: None,
                wraps: Vec::new(),
                rumor,
            };
            let _ = book.put(&kept, id, lines::Place::default());
            let _ = book.remove(&id);
        }
    }
}
