//! Where requests on the control socket are answered: asks the data plane, or has the services do what the owner wants.

use std::sync::Arc;

use serde::Serialize;
use warren_mesh::service::ServiceKind;

use crate::control::protocol::{ControlError, Request};
use crate::control::server::{Answers, Reply, unavailable};
use crate::plane::command::{PlaneHandle, Snapshot};
use crate::services::Services;
use crate::services::manage::{Change, Wish};
use crate::status;

/// See the module.
#[derive(Debug)]
pub struct Desk {
    /// What does not change.
    pub status: status::Fixed,
    /// The data plane.
    pub plane: PlaneHandle,
    /// What is hosted here.
    pub services: Arc<Services>,
}

fn value(value: impl Serialize) -> Result<Reply, ControlError> {
    serde_json::to_value(value)
        .map(Reply::Value)
        .map_err(|_| unavailable())
}

impl Desk {
    async fn snapshot(&self) -> Result<Snapshot, ControlError> {
        self.plane.snapshot().await.map_err(|_| unavailable())
    }
}

impl Answers for Desk {
    async fn answer(&self, request: Request) -> Result<Reply, ControlError> {
        let manager = &self.services.manager;
        match request {
            Request::Status {} => value(self.status.status(&self.snapshot().await?)),
            Request::Neighbours {} => value(status::neighbours(&self.snapshot().await?)),
            Request::Routes {} => value(status::routes(&self.snapshot().await?)),
            Request::Spaces {} => value(self.services.view(ServiceKind::Space).await),
            Request::SpaceCreate {
                title,
                about,
                visible,
                port,
                owner,
            } => {
                let wish = Wish {
                    title,
                    about,
                    visible,
                    port,
                    owner,
                };
                value(manager.create(wish).await?)
            }
            Request::SpaceList {} => value(manager.list()),
            Request::HomeRelay {} => value(manager.relay()),
            Request::SpaceSet {
                space,
                title,
                about,
                visible,
                quota_mib,
                closed,
            } => {
                let change = Change {
                    title,
                    about,
                    visible,
                    quota_mib,
                    closed,
                };
                value(manager.set(&space, change).await?)
            }
            Request::SpaceRemove { space } => value(manager.remove(&space).await?),
            Request::SpaceAdopt { directory } => value(manager.adopt(&directory).await?),
            Request::SpacePapers { space } => value(manager.papers(&space).await?),
            Request::SpaceEvents { space } => {
                let reader = manager.reader(&space).await?;
                self.services.reading.events(reader)
            }
            Request::Files { space } => {
                let directory = space.map(|space| manager.directory(&space)).transpose()?;
                self.services.reading.files(directory)
            }
            Request::File { space, name } => {
                let directory = space.map(|space| manager.directory(&space)).transpose()?;
                self.services.reading.file(directory, name)
            }
            Request::NodePapers {} => value(manager.node_papers(&self.status.name).await?),
        }
    }
}
