//! Coming into a space with an invitation, for apps.

use serde::Deserialize;
use serde_json::json;

use super::reply::{Failure, Reply};
use super::{Api, Caller};
use crate::accounts::error::AccountError;
use crate::invitation::{Invitation, Joined, Refused};

/// What is accepted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// A link or the text of an invitation.
    invitation: String,
}

impl Api {
    /// POST `invitations`
    pub(super) async fn accept(&self, caller: &Caller, accept: Accept) -> Result<Reply, Failure> {
        let wrong = || Failure::new(400, "field_invalid", json!({"field": "invitation"}));
        let invitation = Invitation::parse(&accept.invitation).ok_or_else(wrong)?;
        let token = caller.token.as_ref().ok_or(AccountError::LoggedOut)?;
        let Some(person) = self.people.get(&token.id()) else {
            return Err(match &caller.session {
                Some(_) => Failure::new(409, "key_elsewhere", json!({})),
                None => AccountError::LoggedOut.into(),
            });
        };
        match self
            .joiner
            .join(&invitation, &person.keys, &person.name)
            .await
        {
            Ok(joined) => {
                let key = person.keys.public_key();
                self.people.wrote_in(&key, &invitation.service);
                Ok(Reply::ok(json!({
                    "service": invitation.service.as_str(),
                    "joined": joined == Joined::Now,
                })))
            }
            Err(refused) => Err(failure(refused)),
        }
    }
}

fn failure(refused: Refused) -> Failure {
    let (status, code) = match refused {
        Refused::NotValid => (410, "invitation_void"),
        Refused::Full => (409, "space_full"),
        Refused::Banned => (403, "not_welcome"),
        Refused::Clock => (502, "clocks_differ"),
        Refused::Busy => (503, "busy"),
        Refused::Away => (502, "space_away"),
        Refused::Other(reason) => {
            return Failure::new(502, "space_refused", json!({"reason": reason}));
        }
    };
    Failure::new(status, code, json!({}))
}

/// Reads a foreign body. For the fuzzer.
pub fn read_foreign(body: &[u8]) {
    if let Ok(accept) = serde_json::from_slice::<Accept>(body)
        && let Some(read) = Invitation::parse(&accept.invitation)
    {
        assert_eq!(Invitation::parse(&read.text()), Some(read));
    }
}
