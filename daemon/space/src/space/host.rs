//! What the host of a space does in it: management without a proof of identity, because who runs the box has the space's
//! key anyway. It stands in the log as done by the space itself.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Notify;

use super::Space;
use crate::files::{self, PictureError};
use crate::management::Call;
use crate::told;

impl Space {
    /// One call of the management (NIP-86, and the methods of this space's README) by the space's own key. `Err`: the
    /// space's reason, with its machine-readable prefix. It is on disk when this returns.
    pub async fn manage(&self, method: &str, params: Vec<Value>) -> Result<Value, String> {
        let call = Call::of_host(&self.core, method, params);
        match self.pipeline.manage(call).await {
            Some(outcome) => outcome.map_err(|reason| reason.to_string()),
            None => Err("error: the space is closing".into()),
        }
    }

    /// Stores a picture (PNG, JPEG, WebP or GIF) as a public file and makes it the space's own; gives its address.
    pub async fn set_picture(&self, bytes: Vec<u8>) -> Result<String, PictureError> {
        let core = Arc::clone(&self.core);
        let stored = tokio::task::spawn_blocking(move || files::keep_picture(&core, &bytes)).await;
        let address = stored.map_err(|_| PictureError::Disk("it was given up".into()))??;
        self.set_icon(&address)
            .await
            .map_err(PictureError::Refused)?;
        Ok(address)
    }

    /// Says where the space's picture is.
    pub async fn set_icon(&self, address: &str) -> Result<(), String> {
        let said = self.manage("changerelayicon", vec![address.into()]).await;
        said.map(drop)
    }

    /// What the space is called, by its host or its managers: whoever spoke last.
    pub fn name(&self) -> String {
        self.core.text("name")
    }

    /// A sentence about it, as [`Self::name`].
    pub fn about(&self) -> String {
        self.core.text("about")
    }

    /// The host has what it says of the space from the space itself now, as [`Self::name`] and [`Self::about`] give it, and
    /// will say so when it opens it again. Blocks.
    pub fn taken_over(&self, name: &str, about: &str) {
        told::take_over(&self.core, name, about);
    }

    /// Who is told when the space is called something else, or has another sentence or picture. The first one counts.
    pub fn set_herald(&self, herald: &Arc<Notify>) {
        let _ = self.core.herald.set(Arc::clone(herald));
    }

    /// Where the space's picture is; empty without one.
    pub fn icon(&self) -> String {
        self.core.text("icon")
    }

    /// The public key that signs for the space, 64 hexadecimal digits (`self` in NIP-11).
    pub fn public_key(&self) -> String {
        self.core.keys.public_key().to_hex()
    }
}
