//! What the owner of a box does inside of a space that it hosts: invitations, and the space's picture. It goes through the
//! space's own management, and stands in its log.

use std::sync::Arc;

use nostr::event::Kind;
use nostr::key::PublicKey;
use nostr::nips::nip01::Coordinate;
use nostr::nips::nip19::{Nip19Coordinate, ToBech32};
use nostr::types::RelayUrl;
use serde_json::{Value, json};
use warren_home::Invitation;
use warren_space::{PICTURE_BYTES, PictureError};

use super::{Manager, blocking, disk, find, view};
use crate::config::values::SpaceId;
use crate::control::protocol::{ControlError, ErrorCode, HostedSpace, InviteLine, Invited};
use crate::error::DaemonError;
use crate::services::folders::{INCOMING, remove_all};
use crate::services::hosted::{LocalSpace, Running};
use crate::services::record::bad;
use crate::store;

/// Seconds of a day.
const DAY: u64 = 86_400;
/// Longest time an invitation can be good, days.
const DAYS_MAX: u32 = 3650;
/// The picture, in the directory where it was put.
pub const PICTURE: &str = "picture";

/// What an invitation shall be.
#[derive(Clone, Debug, Default)]
pub struct InviteWish {
    /// For how many people.
    pub uses: Option<u32>,
    /// For how many days.
    pub days: Option<u32>,
    /// The role they get.
    pub role: Option<String>,
    /// The channel it leads to.
    pub channel: Option<String>,
}

fn refused(reason: String) -> ControlError {
    ControlError::new(ErrorCode::SpaceRefused, reason)
}

/// A channel as Nostr programs name it (NIP-29): `naddr1...`.
fn naddr(space: &LocalSpace, running: &Running, channel: &str) -> Option<String> {
    let key = PublicKey::from_hex(&running.space.public_key()).ok()?;
    let relay = RelayUrl::parse(&format!("ws://{}.warren/", space.name)).ok()?;
    let group = Coordinate::new(Kind::from_u16(39000), key).identifier(channel);
    Nip19Coordinate::new(group, [relay]).to_bech32().ok()
}

/// The invitations of a space that are open, or the reason it gives.
async fn open_invites(running: &Running) -> Result<Vec<InviteLine>, String> {
    let list = running.space.manage("listinvites", Vec::new()).await?;
    serde_json::from_value(list).map_err(|error| format!("error: {error}"))
}

impl Manager {
    fn running(&self, name: &str) -> Result<(LocalSpace, Arc<Running>), ControlError> {
        let space = find(&self.hosted.spaces(), name)?;
        match space.space.clone() {
            Some(running) => Ok((space, running)),
            None => Err(ControlError::new(ErrorCode::NotOpen, space.id)),
        }
    }

    /// Makes an invitation.
    pub async fn invite(&self, name: &str, wish: InviteWish) -> Result<Invited, ControlError> {
        let (space, running) = self.running(name)?;
        if wish.uses == Some(0) {
            return Err(bad("uses", "a number of people, 1 or more"));
        }
        if wish
            .days
            .is_some_and(|days| !(1..=DAYS_MAX).contains(&days))
        {
            return Err(bad("expires", "a number of days from 1 to 3650"));
        }
        let expires = wish
            .days
            .map(|days| self.ground.clock.unix_seconds() + u64::from(days) * DAY);
        let options = json!({
            "uses": wish.uses,
            "expiration": expires,
            "role": wish.role,
            "channel": wish.channel,
        });
        let made = running.space.manage("createinvite", vec![options]).await;
        let made = made.map_err(refused)?;
        let text = |field: &str| made[field].as_str().unwrap_or_default().to_owned();
        let code = text("code");
        let invitation = Invitation::new(space.name.clone(), &code)
            .ok_or_else(|| refused(String::from("error: its code cannot be used")))?;
        let channel = wish.channel.as_deref();
        Ok(Invited {
            id: text("id"),
            space: space.record.title.clone(),
            service: space.name.to_string(),
            visible: space.is_shown(),
            text: invitation.text(),
            link: format!("http://{}{}", self.host, invitation.path()),
            naddr: channel
                .and_then(|channel| naddr(&space, &running, channel))
                .map(|naddr| format!("{naddr}?invite={code}")),
            code,
            uses: wish.uses,
            expires,
            role: wish.role,
            channel: wish.channel,
        })
    }

    /// The invitations of a space that are open.
    pub async fn invites(&self, name: &str) -> Result<Vec<InviteLine>, ControlError> {
        let (_, running) = self.running(name)?;
        open_invites(&running).await.map_err(refused)
    }

    /// Takes an invitation back, by its id or code.
    pub async fn revoke_invite(&self, name: &str, invite: &str) -> Result<Value, ControlError> {
        let (space, running) = self.running(name)?;
        let taken = running
            .space
            .manage("revokeinvite", vec![invite.into()])
            .await;
        taken.map_err(|reason| {
            if reason.contains("no such invitation") {
                ControlError {
                    code: ErrorCode::NoInvite,
                    args: vec![invite.chars().take(80).collect(), space.id],
                }
            } else {
                refused(reason)
            }
        })
    }

    /// Makes a picture that was put into a directory below `spaces/` that of a space.
    pub async fn set_picture(
        &self,
        name: &str,
        directory: &str,
    ) -> Result<HostedSpace, ControlError> {
        let _one = self.hosted.one_at_a_time.lock().await;
        let part = directory
            .strip_prefix(INCOMING)
            .filter(|part| part.parse::<SpaceId>().is_ok())
            .ok_or_else(|| ControlError::new(ErrorCode::NotFound, directory))?;
        let incoming = self.folders.incoming(part);
        let bytes = blocking(move || {
            let path = incoming.join(PICTURE);
            // One byte more than it may have, so that a longer one is seen to be.
            let bytes = store::read(&path, PICTURE_BYTES as u64 + 1);
            let bytes = bytes.and_then(|bytes| bytes.ok_or_else(|| DaemonError::missing(&path)));
            remove_all(&incoming)?;
            bytes
        })
        .await?;
        let (space, running) = self.running(name)?;
        let set = running.space.set_picture(bytes).await;
        set.map_err(|error| match error {
            PictureError::Kind | PictureError::TooLarge => {
                bad("picture", "a PNG, JPEG, WebP or GIF of at most 1 MiB")
            }
            PictureError::Disk(what) => disk(&DaemonError::Service {
                what: format!("the picture of {}", space.id),
                reason: what,
            }),
            other => refused(other.to_string()),
        })?;
        Ok(view(&space))
    }

    /// Takes back every invitation: they are for an address that is gone, and would let in at the next one.
    pub(super) async fn void_invites(&self, space: &LocalSpace) {
        let Some(running) = &space.space else { return };
        let list = match open_invites(running).await {
            Ok(list) => list,
            Err(reason) => {
                return log::error!(
                    "space {}: its invitations are not void; take them back: {reason}",
                    space.id
                );
            }
        };
        for invite in list {
            let taken = running.space.manage("revokeinvite", vec![invite.id.into()]);
            if let Err(reason) = taken.await {
                log::error!("space {}: an invitation is not void: {reason}", space.id);
            }
        }
    }

    /// After a space got another address: its own picture has one with it.
    pub(super) async fn move_picture(&self, old: &str, space: &LocalSpace) {
        let Some(running) = &space.space else { return };
        let icon = running.space.icon();
        let Some(file) = icon.strip_prefix(&format!("http://{old}.warren/")) else {
            return;
        };
        let address = format!("http://{}.warren/{file}", space.name);
        if let Err(reason) = running.space.set_icon(&address).await {
            log::warn!(
                "space {}: its picture stays at the old address: {reason}",
                space.id
            );
        }
    }
}
