//! Requests of apps that wait for their person to allow them. Only in memory: an app whose home restarts asks again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::accounts::apps::{App, Permission};
use crate::accounts::record::AccountId;

/// What a person sees of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Names it in the API: 16 hexadecimal digits.
    pub id: String,
    /// Whose app it is.
    pub account: AccountId,
    /// Which app.
    pub app: App,
    /// What it would have to be allowed.
    pub permission: Permission,
    /// The beginning of what is to be signed; for ciphers, the other person's key.
    pub preview: String,
    /// Since when it waits, seconds since 1970.
    pub since: u64,
}

/// All that wait.
#[derive(Default)]
pub struct Asks(Mutex<Vec<(Ask, oneshot::Sender<bool>)>>);

impl Asks {
    fn list(&self) -> MutexGuard<'_, Vec<(Ask, oneshot::Sender<bool>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one; `None` when as many as `max` wait for this person.
    pub fn add(&self, ask: Ask, max: usize) -> Option<oneshot::Receiver<bool>> {
        let mut list = self.list();
        if list
            .iter()
            .filter(|(other, _)| other.account == ask.account)
            .count()
            >= max
        {
            return None;
        }
        let (answer, answered) = oneshot::channel();
        list.push((ask, answer));
        Some(answered)
    }

    /// Nobody decided in time.
    pub fn give_up(&self, id: &str) {
        self.list().retain(|(ask, _)| ask.id != id);
    }

    /// What waits for a person, oldest first.
    pub fn of(&self, account: &AccountId) -> Vec<Ask> {
        self.list()
            .iter()
            .filter(|(ask, _)| ask.account == *account)
            .map(|(ask, _)| ask.clone())
            .collect()
    }

    /// Decides one of this person's; which one it was.
    pub fn decide(&self, account: &AccountId, id: &str, allow: bool) -> Option<Ask> {
        let mut list = self.list();
        let place = list
            .iter()
            .position(|(ask, _)| ask.account == *account && ask.id == id)?;
        let (ask, answer) = list.remove(place);
        let _ = answer.send(allow); // the app's request may just have given up
        Some(ask)
    }

    /// Decides all of an app that `is` true for.
    pub fn decide_all(
        &self,
        account: &AccountId,
        app: &str,
        allow: bool,
        is: impl Fn(&Permission) -> bool,
    ) {
        let mut list = self.list();
        let (decided, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut *list)
            .into_iter()
            .partition(|(ask, _)| {
                ask.account == *account && ask.app.id == app && is(&ask.permission)
            });
        *list = waiting;
        for (_, answer) in decided {
            let _ = answer.send(allow);
        }
    }
}
