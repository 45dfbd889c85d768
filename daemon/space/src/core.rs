//! What the threads and connections of one space share.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use nostr::key::Keys;
use tokio::sync::{Notify, Semaphore};

use crate::access::Viewer;
use crate::claims::Claims;
use crate::config::{Clock, SpaceConfig};
use crate::fanout::{Fanout, Listener};
use crate::files::Files;
use crate::groups::{Authority, Groups};
use crate::mail::Mail;
use crate::management::UsedProofs;
use crate::personal::{Personal, Residents};
use crate::rate::Rate;
use crate::signature::Signers;
use crate::snapshots::Snapshots;
use crate::store::Store;

/// One space's insides.
pub struct Core {
    /// What the host said.
    pub config: SpaceConfig,
    /// The time.
    pub clock: Clock,
    /// The space's own key.
    pub keys: Keys,
    /// Who stands above the channels.
    pub authority: Authority,
    /// The events.
    pub store: Box<dyn Store>,
    /// The files.
    pub files: Files,
    /// What private messages may cost.
    pub mail: Mail,
    /// What there is beside, at the relay of a home's people.
    pub personal: Option<Personal>,
    /// Invitations made on the fly.
    pub claims: Claims,
    /// Descriptions of channels, members and roles.
    pub snapshots: Snapshots,
    /// Who wrote lately.
    pub signers: Signers,
    /// Proofs of identity for HTTP that were used (NIP-98).
    pub used_proofs: UsedProofs,
    /// Who listens.
    pub fanout: Arc<Fanout>,
    /// Events that syncs may still compare, for the whole space.
    pub sync_room: Arc<Semaphore>,
    /// Told when the space is called something else. The first one counts.
    pub herald: OnceLock<Arc<Notify>>,
    groups: RwLock<Arc<Groups>>,
}

impl Core {
    /// Puts a space together.
    pub fn new(
        config: SpaceConfig,
        clock: Clock,
        keys: Keys,
        store: Box<dyn Store>,
        files: Files,
        groups: Groups,
        residents: Option<Arc<dyn Residents>>,
    ) -> Self {
        let authority = Authority {
            relay: keys.public_key(),
            owner: config.owner,
            is_home: residents.is_some(),
        };
        let limits = &config.limits;
        let mail = Mail::new(Rate {
            per_second: f64::from(limits.wraps_per_minute) / 60.0,
            burst: f64::from(limits.wrap_burst),
        });
        let personal = residents.map(|residents| Personal::new(residents, limits));
        let sync_room = config.limits.sync_events_in_all.min(Semaphore::MAX_PERMITS);
        Self {
            config,
            mail,
            personal,
            authority,
            store,
            files,
            claims: Claims::new(&keys),
            signers: Signers::default(),
            used_proofs: UsedProofs::new(clock()),
            snapshots: Snapshots::new(keys.clone(), Arc::clone(&clock)),
            clock,
            keys,
            fanout: Arc::new(Fanout::new(authority)),
            sync_room: Arc::new(Semaphore::new(sync_room)),
            herald: OnceLock::new(),
            groups: RwLock::new(Arc::new(groups)),
        }
    }

    /// Seconds since 1970.
    pub fn now(&self) -> u64 {
        (self.clock)()
    }

    /// What the space says of itself: `name`, `about` or `icon`, as its managers changed it or as the host said.
    pub fn text(&self, name: &str) -> String {
        let groups = self.groups();
        let changed = groups.community().texts.get(name);
        let given = match name {
            "name" => self.config.name.as_str(),
            "about" => self.config.about.as_str(),
            _ => "",
        };
        changed.map_or(given, |text| text).to_owned()
    }

    /// The channels as they are now.
    pub fn groups(&self) -> Arc<Groups> {
        Arc::clone(&self.groups.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The channels changed. Only the thread that writes calls this.
    pub fn set_groups(&self, groups: Groups) {
        let groups = Arc::new(groups);
        let mut place = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *place, Arc::clone(&groups));
        drop(place);
        if old.community().texts != groups.community().texts
            && let Some(herald) = self.herald.get()
        {
            herald.notify_one();
        }
    }

    /// The people behind a connection, as readers.
    pub fn viewer(&self, listener: &Listener) -> Viewer {
        Viewer {
            people: listener.people(),
            authority: self.authority,
            now: self.now(),
        }
    }
}
