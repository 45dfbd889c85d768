//! How fast people may write: the rate of a person everywhere, and slow mode in a channel.

use std::collections::HashMap;
use std::time::Instant;

use nostr::event::{Event, Kind};
use nostr::filter::{Filter, SingleLetterTag};
use nostr::key::PublicKey;

use super::{Stop, search};
use crate::config::Limits;
use crate::core::Core;
use crate::groups::kinds;
use crate::rate::{People, Rate};
use crate::record::ChannelId;

/// People in slow channels that are remembered. The others are looked up among what is stored.
const REMEMBERED: usize = 4096;
/// Seconds that the date of a message in a slow channel may lie back: dates are what is looked up after a restart.
const BACK: u64 = 60;

/// Whether slow mode counts it: what people write, but not what they take back, react or do as moderators.
pub fn is_message(kind: u16) -> bool {
    !kinds::is_moderation(kind)
        && ![
            kinds::DELETION,
            kinds::REACTION,
            kinds::VOTE,
            kinds::RSVP,
            kinds::JOIN,
            kinds::LEAVE,
            kinds::REPORT,
        ]
        .contains(&kind)
        && !Kind::from_u16(kind).is_ephemeral()
}

/// Who wrote when.
#[derive(Debug)]
pub struct Pace {
    /// Everywhere.
    pub people: People,
    /// By webhooks.
    pub hooks: People,
    typing: People,
    presence: People,
    slow: HashMap<(ChannelId, PublicKey), (u64, u32)>,
}

impl Pace {
    /// Nobody has written yet.
    pub fn new(limits: &Limits) -> Self {
        let people = |per_minute: u32, burst: u32| {
            People::new(Rate {
                per_second: f64::from(per_minute) / 60.0,
                burst: f64::from(burst),
            })
        };
        let signal = Rate {
            per_second: 1.0 / f64::from(limits.signal_seconds.max(1)),
            burst: 1.0,
        };
        Self {
            people: people(limits.events_per_minute, limits.event_burst),
            hooks: people(limits.webhook_per_minute, limits.webhook_burst),
            typing: People::new(signal),
            presence: People::new(signal),
            slow: HashMap::new(),
        }
    }

    /// Whether somebody may write this now. Signals have a pace of their own and do not count with messages.
    pub fn take(&mut self, event: &Event, now: Instant) -> bool {
        let people = match event.kind.as_u16() {
            kinds::TYPING => &mut self.typing,
            kinds::PRESENCE => &mut self.presence,
            _ => &mut self.people,
        };
        people.take(&event.pubkey, now)
    }

    /// Seconds that somebody still waits before this message may come into a slow channel.
    pub fn wait(
        &self,
        event: &Event,
        channel: &ChannelId,
        slow: u32,
        core: &Core,
    ) -> Result<u64, Stop> {
        let now = core.now();
        if event.created_at.as_secs().saturating_add(BACK) < now {
            return Err(Stop::from(
                "invalid: this channel has slow mode: the date must be of this minute",
            ));
        }
        let key = (channel.clone(), event.pubkey);
        let last = match self.slow.get(&key) {
            Some((at, _)) => Some(*at),
            None => {
                let written = Filter::new()
                    .author(event.pubkey)
                    .custom_tag(SingleLetterTag::LOWERCASE_H, channel.as_str())
                    .since(nostr::types::Timestamp::from_secs(
                        now.saturating_sub(slow.into()),
                    ));
                search(core, &written)?
                    .iter()
                    .filter(|event| is_message(event.event.kind.as_u16()))
                    .map(|event| event.event.created_at.as_secs())
                    .max()
            }
        };
        let free = last.map_or(0, |last| last.min(now).saturating_add(slow.into()));
        Ok(free.saturating_sub(now))
    }

    /// Somebody wrote into a slow channel.
    pub fn wrote(&mut self, person: &PublicKey, channel: &ChannelId, now: u64, slow: u32) {
        if self.slow.len() >= REMEMBERED {
            self.slow
                .retain(|_, (at, slow)| at.saturating_add(u64::from(*slow)) > now);
        }
        if self.slow.len() < REMEMBERED {
            self.slow.insert((channel.clone(), *person), (now, slow));
        }
    }
}
