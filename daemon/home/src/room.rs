//! What a home knows of one space for its page: the last messages, people's names, what is still to be sent, and
//! whether the space can be reached. It talks to nobody; `link` fills it and pages read it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nostr::event::{Event, EventId};
use nostr::key::PublicKey;
use tokio::sync::{Notify, broadcast};

use crate::guests::{GuestId, NAME_CHARS, clean_name};

/// Messages that are kept.
const MESSAGES: usize = 200;
/// Messages that a page shows.
pub const SHOWN: usize = 30;
/// Names that are kept.
const NAMES: usize = 5000;
/// Messages that wait to be sent.
const UNSENT: usize = 200;
/// Changes that a slow page may be behind before it gets everything anew.
const BEHIND: usize = 64;

/// One message for the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its id, as text.
    pub id: String,
    /// Who wrote it.
    pub author: PublicKey,
    /// When, seconds since 1970.
    pub at: u64,
    /// What. Untrusted text.
    pub text: String,
}

/// Whether a message that was written here has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It is tried again and again.
    Pending,
    /// The space does not take it, for this reason in plain words.
    Failed(String),
}

/// A message that was written here and is not in the space yet.
#[derive(Debug, Clone)]
pub struct Unsent {
    /// Who wrote it.
    pub guest: GuestId,
    /// The signed message.
    pub event: Event,
    /// How it stands.
    pub delivery: Delivery,
}

/// Whether the space can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Not known yet.
    Trying,
    /// Now.
    Here,
    /// Not now.
    Away,
}

/// What changed.
#[derive(Debug, Clone)]
pub enum Change {
    /// There is a new message.
    Said(Line),
    /// Anything else: the page is told everything it shows.
    All,
}

/// What a home knows of one space.
#[derive(Debug)]
pub struct Room {
    state: Mutex<State>,
    changes: broadcast::Sender<Change>,
    /// Something waits to be sent.
    pub to_send: Notify,
}

#[derive(Debug)]
struct State {
    /// By time: seconds, milliseconds where the author's home told them, and then any order.
    lines: BTreeMap<(u64, u16, EventId), Line>,
    names: HashMap<PublicKey, (u64, String)>,
    unsent: VecDeque<Unsent>,
    reach: Reach,
    was_here: bool,
}

/// What a page shows.
#[derive(Debug, Clone)]
pub struct View {
    /// The last messages, oldest first, each with its author's name.
    pub lines: Vec<(Line, String)>,
    /// What the viewer wrote and is not in the space yet.
    pub unsent: Vec<Unsent>,
    /// Whether the space can be reached.
    pub reach: Reach,
}

/// The milliseconds of an event's second: what its `ms` tag says, for `created_at` is too coarse for a talk.
fn milliseconds(event: &Event) -> u16 {
    event
        .tags
        .iter()
        .find_map(|tag| match tag.as_slice() {
            [name, value, ..] if name == "ms" => value.parse().ok(),
            _ => None,
        })
        .filter(|ms| *ms < 1000)
        .unwrap_or(0)
}

impl Default for Room {
    fn default() -> Self {
        let state = State {
            lines: BTreeMap::new(),
            names: HashMap::new(),
            unsent: VecDeque::new(),
            reach: Reach::Trying,
            was_here: false,
        };
        Self {
            state: Mutex::new(state),
            changes: broadcast::channel(BEHIND).0,
            to_send: Notify::new(),
        }
    }
}

impl Room {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears every change from now on.
    pub fn watch(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Pages that watch.
    pub fn watchers(&self) -> usize {
        self.changes.receiver_count()
    }

    fn tell(&self, change: Change) {
        let _ = self.changes.send(change); // nobody may be watching
    }

    /// What a page shows to this guest.
    pub fn view(&self, guest: Option<&GuestId>) -> View {
        let state = self.state();
        let skip = state.lines.len().saturating_sub(SHOWN);
        let lines = state
            .lines
            .values()
            .skip(skip)
            .map(|line| (line.clone(), state.name(&line.author)))
            .collect();
        let unsent = state
            .unsent
            .iter()
            .filter(|unsent| Some(&unsent.guest) == guest)
            .cloned()
            .collect();
        View {
            lines,
            unsent,
            reach: state.reach,
        }
    }

    /// The name of a message's author.
    pub fn name(&self, person: &PublicKey) -> String {
        self.state().name(person)
    }

    /// Whether the space already knows somebody under this name.
    pub fn is_known_as(&self, person: &PublicKey, name: &str) -> bool {
        self.state()
            .names
            .get(person)
            .is_some_and(|(_, known)| known == name)
    }

    /// The date of the newest message, seconds since 1970.
    pub fn newest(&self) -> Option<u64> {
        self.state()
            .lines
            .last_key_value()
            .map(|((at, _, _), _)| *at)
    }

    /// Takes in what the space told.
    pub fn hear(&self, event: &Event) {
        match event.kind.as_u16() {
            0 => self.hear_name(event),
            9 => self.hear_line(event),
            5 | 9005 => {
                let gone: Vec<EventId> = event.tags.event_ids().collect();
                let mut state = self.state();
                let before = state.lines.len();
                let moderator = event.kind.as_u16() == 9005;
                state.lines.retain(|(_, _, id), line| {
                    !(gone.contains(id) && (moderator || line.author == event.pubkey))
                });
                let changed = state.lines.len() != before;
                drop(state);
                if changed {
                    self.tell(Change::All);
                }
            }
            _ => {}
        }
    }

    fn hear_name(&self, event: &Event) {
        let content: serde_json::Value = serde_json::from_str(&event.content).unwrap_or_default();
        let name = ["display_name", "name"]
            .into_iter()
            .find_map(|field| content[field].as_str().and_then(clean_name))
            .map(|name| name.chars().take(NAME_CHARS).collect::<String>());
        let Some(name) = name else { return };
        let at = event.created_at.as_secs();
        let mut state = self.state();
        let known = state.names.get(&event.pubkey);
        if known.is_some_and(|(known_at, known)| *known_at > at || *known == name)
            || (known.is_none() && state.names.len() >= NAMES)
        {
            return;
        }
        state.names.insert(event.pubkey, (at, name));
        let shown = state
            .lines
            .values()
            .rev()
            .take(SHOWN)
            .any(|line| line.author == event.pubkey);
        drop(state);
        if shown {
            self.tell(Change::All);
        }
    }

    fn hear_line(&self, event: &Event) {
        let at = event.created_at.as_secs();
        let line = Line {
            id: event.id.to_hex(),
            author: event.pubkey,
            at,
            text: event.content.clone(),
        };
        let mut state = self.state();
        let was_unsent = state.unsent.len();
        state.unsent.retain(|unsent| unsent.event.id != event.id);
        let arrived = was_unsent != state.unsent.len();
        let place = (at, milliseconds(event), event.id);
        if state.lines.insert(place, line.clone()).is_some() {
            return;
        }
        let last = state
            .lines
            .last_key_value()
            .is_some_and(|((_, _, id), _)| *id == event.id);
        while state.lines.len() > MESSAGES {
            state.lines.pop_first();
        }
        drop(state);
        self.tell(if last && !arrived {
            Change::Said(line)
        } else {
            Change::All
        });
    }

    /// Whether the space can be reached.
    pub fn set_reach(&self, reach: Reach) {
        let mut state = self.state();
        if state.reach != reach {
            state.reach = reach;
            state.was_here |= reach == Reach::Here;
            drop(state);
            self.tell(Change::All);
        }
    }

    /// Whether the space was ever reached, or something waits for it.
    pub fn is_found(&self) -> bool {
        let state = self.state();
        state.was_here || !state.unsent.is_empty()
    }

    /// Keeps a message until the space has it; `false` when too many wait.
    pub fn keep(&self, guest: GuestId, event: Event) -> bool {
        let mut state = self.state();
        if state.unsent.len() >= UNSENT {
            return false;
        }
        state.unsent.push_back(Unsent {
            guest,
            event,
            delivery: Delivery::Pending,
        });
        drop(state);
        self.tell(Change::All);
        self.to_send.notify_one();
        true
    }

    /// Puts back what was kept over a restart.
    pub fn restore(&self, unsent: Vec<Unsent>) {
        self.state().unsent.extend(unsent);
        self.to_send.notify_one();
    }

    /// Whether a message waits.
    pub fn has_pending(&self) -> bool {
        self.first_pending(|_| true).is_some()
    }

    /// The first message that waits and that `can` be sent now.
    pub fn first_pending(&self, can: impl Fn(&Unsent) -> bool) -> Option<Unsent> {
        self.state()
            .unsent
            .iter()
            .find(|unsent| unsent.delivery == Delivery::Pending && can(unsent))
            .cloned()
    }

    /// The space has it.
    pub fn arrived(&self, event: &Event) {
        self.hear(event);
    }

    /// The space does not take it.
    pub fn failed(&self, id: &EventId, reason: String) {
        let mut state = self.state();
        if let Some(unsent) = state
            .unsent
            .iter_mut()
            .find(|unsent| unsent.event.id == *id)
        {
            unsent.delivery = Delivery::Failed(reason);
        }
        drop(state);
        self.tell(Change::All);
    }

    /// Takes a message that waits or failed away from what is kept, for its author alone.
    pub fn take_back(&self, id: &EventId, guest: &GuestId) -> Option<Unsent> {
        let mut state = self.state();
        let place = state
            .unsent
            .iter()
            .position(|unsent| unsent.event.id == *id && unsent.guest == *guest)?;
        let unsent = state.unsent.remove(place);
        drop(state);
        self.tell(Change::All);
        unsent
    }

    /// How a message that was written here stands; `None` when the space has it.
    pub fn delivery(&self, id: &EventId) -> Option<Delivery> {
        self.state()
            .unsent
            .iter()
            .find(|unsent| unsent.event.id == *id)
            .map(|unsent| unsent.delivery.clone())
    }

    /// Everything that is not in the space yet.
    pub fn unsent(&self) -> Vec<Unsent> {
        self.state().unsent.iter().cloned().collect()
    }
}

impl State {
    fn name(&self, person: &PublicKey) -> String {
        self.names
            .get(person)
            .map_or_else(|| "Somebody".to_owned(), |(_, name)| name.clone())
    }
}
