//! Who may do and see what with files, and how much room there is for whom. Asked at every request anew, so that who left
//! a channel has lost its files.

use std::sync::{Arc, PoisonError};

use nostr::key::PublicKey;

use super::auth::Token;
use super::blobs::{FileHash, Right, UploadKey};
use super::refusal::Refusal;
use crate::access::Viewer;
use crate::config::FileLimits;
use crate::core::Core;
use crate::groups::permissions::{Permission, Permissions};
use crate::groups::roles::Standing;
use crate::groups::{Channel, Groups};

/// What roles mean for files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Has files.
    Member,
    /// May delete others' messages, and so their files.
    Moderator,
    /// Manages the space.
    Admin,
}

impl Rank {
    fn of(standing: &Standing) -> Option<Self> {
        let may = |permission| standing.permissions.has(permission);
        standing.belongs.then(|| {
            if may(Permission::ManageSpace) {
                Self::Admin
            } else if may(Permission::DeleteMessages) {
                Self::Moderator
            } else {
                Self::Member
            }
        })
    }
}

/// What somebody is in the whole space; `None`: no member.
pub fn standing(core: &Core, groups: &Groups, person: &PublicKey) -> Option<Rank> {
    if let Some(personal) = &core.personal {
        return personal.lives_here(person).then_some(Rank::Member);
    }
    Rank::of(&groups.standing(&core.authority, person))
}

/// What somebody is in a channel; `None`: does not belong to it.
pub fn standing_in(
    core: &Core,
    groups: &Groups,
    channel: &Channel,
    person: &PublicKey,
) -> Option<Rank> {
    Rank::of(&groups.standing_in(&core.authority, channel, person))
}

/// Bytes that somebody may have.
const fn quota(limits: &FileLimits, rank: Rank) -> u64 {
    match rank {
        Rank::Member => limits.member_bytes,
        Rank::Moderator => limits.moderator_bytes,
        Rank::Admin => limits.admin_bytes,
    }
}

/// Refuses who may not write for a time.
pub fn not_silenced(core: &Core, groups: &Groups, person: &PublicKey) -> Result<(), Refusal> {
    match groups.community().timed_out(person, core.now()) {
        Some(until) => Err(Refusal::Silenced(until)),
        None => Ok(()),
    }
}

/// Whether a token's person may upload into the channel it names; their rank in the space.
pub fn may_upload(core: &Core, token: &Token) -> Result<Rank, Refusal> {
    let groups = core.groups();
    if core.personal.is_some() {
        let rank = standing(core, &groups, &token.person).ok_or(Refusal::NotMember)?;
        let is_public = token.channel.is_none();
        return is_public.then_some(rank).ok_or(Refusal::Channel);
    }
    not_silenced(core, &groups, &token.person)?;
    let in_space = groups.standing(&core.authority, &token.person);
    let rank = Rank::of(&in_space)
        .filter(|_| in_space.permissions.has(Permission::Upload))
        .ok_or(Refusal::NotMember)?;
    if let Some(id) = &token.channel {
        // As for messages: who belongs to the channel, and everybody where everybody may write.
        let channel = groups.get(id).ok_or(Refusal::Channel)?;
        let is_open = !channel.metadata.restricted && !channel.is_private();
        let here = groups.standing_in(&core.authority, channel, &token.person);
        let may = match here.belongs {
            true => here.permissions,
            false if is_open => groups.left_in(channel, &token.person, in_space.permissions),
            false => Permissions::NONE,
        };
        if !may.has(Permission::Upload) {
            return Err(Refusal::Channel);
        }
    }
    Ok(rank)
}

/// Under whose name a transfer counts: a member's, or with those of all others.
pub fn holder(core: &Core, person: &PublicKey) -> Option<PublicKey> {
    standing(core, &core.groups(), person).map(|_| *person)
}

/// Whether somebody may delete a right: who uploaded it, and who moderates where it is and stands above who uploaded it.
pub fn may_delete(core: &Core, groups: &Groups, person: &PublicKey, right: &Right) -> bool {
    if right.uploader == *person {
        return true;
    }
    let channel = match &right.channel {
        None => None,
        Some(id) => match groups.get(id) {
            None => return false,
            channel => channel,
        },
    };
    let place = |person: &PublicKey| match channel {
        None => groups.standing(&core.authority, person),
        Some(channel) => groups.standing_in(&core.authority, channel, person),
    };
    let standing = place(person);
    Rank::of(&standing) >= Some(Rank::Moderator) && standing.is_above(place(&right.uploader).order)
}

/// Somebody who looks at files.
pub struct Looker {
    viewer: Viewer,
    groups: Arc<Groups>,
    oldest: u64,
}

impl Looker {
    /// A stranger, or the person a token is of. A token that names no server opens nothing that is private: any server it
    /// was given to before could use it here.
    pub fn new(core: &Core, token: Option<&Token>) -> Self {
        let people = token
            .filter(|token| token.is_for_here)
            .map(|token| token.person);
        Self {
            viewer: Viewer {
                people: people.into_iter().collect(),
                authority: core.authority,
                now: core.now(),
            },
            groups: core.groups(),
            oldest: core.files.oldest(core.now()),
        }
    }

    /// The same for somebody who signed what they ask in another way.
    pub fn person(core: &Core, person: PublicKey) -> Self {
        let mut looker = Self::new(core, None);
        looker.viewer.people.push(person);
        looker
    }

    /// Whether a right lets them see its file.
    pub fn may_see(&self, right: &Right) -> bool {
        let channel = match &right.channel {
            _ if right.uploaded < self.oldest => return false,
            None => return true,
            Some(id) => self.groups.get(id),
        };
        channel.is_some_and(|channel| self.viewer.may_read(channel, &self.groups))
    }

    /// Whether a right lets everybody see its file.
    pub fn is_public(&self, right: &Right) -> bool {
        let channel = right.channel.as_ref().map(|id| self.groups.get(id));
        channel.is_none_or(|channel| channel.is_some_and(|channel| !channel.is_private()))
    }
}

/// The first right to a file that somebody may see, and whether everybody may see the file.
pub fn find(
    core: &Core,
    hash: &FileHash,
    token: Option<&Token>,
) -> Result<Option<(Right, bool)>, Refusal> {
    let _gate = core
        .files
        .gate
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    let looker = Looker::new(core, token);
    let rights = core.files.blobs.rights(hash)?;
    let is_public = rights
        .iter()
        .any(|right| looker.may_see(right) && looker.is_public(right));
    let seen = rights
        .into_iter()
        .filter(|right| looker.may_see(right))
        .min_by_key(|right| right.uploaded);
    Ok(seen.map(|right| (right, is_public)))
}

/// Room for bytes that are on their way in, given back when it is dropped.
pub struct Reservation {
    core: Arc<Core>,
    person: PublicKey,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = self
            .core
            .files
            .reserved
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = reserved.get_mut(&self.person) {
            *bytes = bytes.saturating_sub(self.bytes);
            if *bytes == 0 {
                reserved.remove(&self.person);
            }
        }
    }
}

/// Takes room for a file of `bytes`, whether or not the same bytes are here already: that must not be found out.
pub fn reserve(
    core: &Arc<Core>,
    person: &PublicKey,
    rank: Rank,
    bytes: u64,
) -> Result<Reservation, Refusal> {
    let limits = &core.files.limits;
    if bytes > limits.file_bytes {
        return Err(Refusal::TooLarge(limits.file_bytes));
    }
    let mut reserved = core
        .files
        .reserved
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let usage = core.files.blobs.usage(person)?;
    let coming = reserved.get(person).copied().unwrap_or(0);
    let (used, most) = (
        usage.bytes + usage.unfinished_bytes + coming,
        quota(limits, rank),
    );
    if used.saturating_add(bytes) > most {
        return Err(Refusal::PersonFull { used, most });
    }
    if usage.files >= limits.person_files {
        return Err(Refusal::TooMany {
            what: "files",
            most: limits.person_files,
        });
    }
    let total = core.files.blobs.total();
    let coming: u64 = reserved.values().sum();
    let all = total.bytes + total.unfinished_bytes + coming;
    if all.saturating_add(bytes) > limits.space_bytes {
        return Err(Refusal::SpaceFull);
    }
    *reserved.entry(*person).or_default() += bytes;
    drop(reserved);
    Ok(Reservation {
        core: Arc::clone(core),
        person: *person,
        bytes,
    })
}

/// Which upload a token and a hash name.
pub fn key(token: &Token, hash: FileHash) -> UploadKey {
    UploadKey {
        uploader: token.person,
        hash,
        channel: token.channel.clone(),
    }
}
