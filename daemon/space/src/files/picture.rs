//! The space's own picture: a public file that its host stores. The bytes are looked at as far as to know which kind of
//! picture they are, and are never decoded here.

use std::sync::Arc;

use super::blobs::{BlobError, Right, UploadKey};
use super::policy::{self, Rank};
use super::refusal::Refusal;
use super::routes;
use crate::core::Core;

/// Largest picture, bytes.
pub const PICTURE_BYTES: usize = 1 << 20;

/// Why a picture was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// None of the four kinds.
    #[error("it is no PNG, JPEG, WebP or GIF")]
    Kind,
    /// Larger than [`PICTURE_BYTES`].
    #[error("it is larger than 1 MiB")]
    TooLarge,
    /// The space's files may take no more room.
    #[error("the space's files have no room for it")]
    NoRoom,
    /// The disk did not take it.
    #[error("it could not be stored: {0}")]
    Disk(String),
    /// The space did not take it as its own, for this reason.
    #[error("{0}")]
    Refused(String),
}

impl From<BlobError> for PictureError {
    fn from(error: BlobError) -> Self {
        Self::Disk(error.to_string())
    }
}

/// The media type of a picture by its first bytes; `None` for what is none of the four kinds.
pub fn kind_of(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some("image/webp"),
        _ => None,
    }
}

/// Stores a picture as a file that everybody who reaches the space can see; gives its address. Those that the host stored
/// before are let go. Blocks.
pub fn keep_picture(core: &Arc<Core>, bytes: &[u8]) -> Result<String, PictureError> {
    let media_type = kind_of(bytes).ok_or(PictureError::Kind)?;
    if bytes.len() > PICTURE_BYTES {
        return Err(PictureError::TooLarge);
    }
    let uploader = core.keys.public_key();
    let room = policy::reserve(core, &uploader, Rank::Admin, bytes.len() as u64);
    let _room = room.map_err(|refusal| match refusal {
        Refusal::Trouble => PictureError::Disk("its files cannot be read".into()),
        _ => PictureError::NoRoom,
    })?;
    let blobs = &core.files.blobs;
    let mut draft = blobs.draft()?;
    draft.write(bytes)?;
    let hash = draft.hash()?;
    let right = Right {
        hash,
        size: draft.length(),
        uploader,
        channel: None,
        media_type: media_type.into(),
        uploaded: core.now(),
    };
    draft.publish(&right)?;
    let key = UploadKey {
        uploader,
        hash,
        channel: None,
    };
    let right = blobs.right(&key)?.unwrap_or(right);
    let mut former = Vec::new();
    blobs.uploaded_by(&uploader, &mut |old| {
        if old.hash != hash && old.channel.is_none() {
            former.push(old.hash);
        }
        true
    })?;
    for old in former {
        blobs.remove(&old, &mut |right| right.uploader == uploader)?;
    }
    let address = routes::descriptor(core, &right);
    Ok(address["url"].as_str().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_their_first_bytes() {
        for (bytes, kind) in [
            (&b"\x89PNG\r\n\x1a\nIHDR"[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a..", Some("image/gif")),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"RIFF\x10\0\0\0WAVEfmt ", None),
            (b"<svg xmlns=", None),
            (b"\x89PNG", None),
            (b"", None),
        ] {
            assert_eq!(kind_of(bytes), kind);
        }
    }
}
