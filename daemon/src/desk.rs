//! Where requests on the control socket are answered: asks the data plane, or has the services do what the owner wants.

use std::sync::Arc;

use serde::Serialize;
use warren_mesh::service::ServiceKind;

use crate::control::protocol::{ControlError, Request, Status};
use crate::control::server::{Answers, Reply, unavailable};
use crate::metrics::Figures;
use crate::plane::command::{PlaneHandle, Snapshot};
use crate::services::Services;
use crate::services::manage::{Change, InviteWish, Wish};
use crate::services::reading::Opener;
use crate::services::sites::SiteChange;
use crate::status;
use crate::transfer::schedule::Schedule;

/// See the module.
#[derive(Debug)]
pub struct Desk {
    /// What does not change.
    pub status: status::Fixed,
    /// The data plane.
    pub plane: PlaneHandle,
    /// The text of the configuration file, as it was at the start.
    pub config: String,
    /// What is hosted here.
    pub services: Arc<Services>,
}

fn value(value: impl Serialize) -> Result<Reply, ControlError> {
    serde_json::to_value(value)
        .map(Reply::Value)
        .map_err(|_| unavailable())
}

impl Desk {
    /// Everything that monitoring is told.
    pub async fn figures(&self) -> Result<Figures, ControlError> {
        let mesh = self.snapshot().await?;
        Ok(Figures {
            spaces: self.services.manager.list(),
            sites: self.services.sites.list(),
            home: self.services.home_figures(),
            backup: self.status.schedule.as_ref().map(Schedule::status),
            exports: self.status.exports(),
            uptime_s: self.status.start.elapsed().as_secs(),
            mesh,
        })
    }

    /// The files of a space, of a site, or of the home.
    fn files(&self, space: Option<&str>, site: Option<&str>) -> Result<Opener, ControlError> {
        let reading = &self.services.reading;
        Ok(match (space, site) {
            (Some(space), _) => reading.space(self.services.manager.directory(space)?),
            (None, Some(site)) => {
                let pages = self.services.sites.pages(site)?;
                Box::new(move || Ok(Box::new(pages)))
            }
            (None, None) => reading.home(),
        })
    }

    async fn snapshot(&self) -> Result<Snapshot, ControlError> {
        self.plane.snapshot().await.map_err(|_| unavailable())
    }
}

impl Answers for Desk {
    async fn answer(&self, request: Request) -> Result<Reply, ControlError> {
        let manager = &self.services.manager;
        match request {
            Request::Status {} => value(Status {
                home_left_out: self.services.is_home_left_out(),
                ..self.status.status(&self.snapshot().await?)
            }),
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
                files_quota_mib,
                member_quota_mib,
                closed,
                owner,
                picture,
            } => {
                let change = Change {
                    title,
                    about,
                    visible,
                    quota_mib,
                    files_quota_mib,
                    member_quota_mib,
                    closed,
                    owner,
                };
                let set = manager.set(&space, change).await?;
                match picture {
                    Some(directory) => value(manager.set_picture(&set.id, &directory).await?),
                    None => value(set),
                }
            }
            Request::SpaceInvite {
                space,
                uses,
                days,
                role,
                channel,
            } => {
                let wish = InviteWish {
                    uses,
                    days,
                    role,
                    channel,
                };
                value(manager.invite(&space, wish).await?)
            }
            Request::SpaceInvites { space } => value(manager.invites(&space).await?),
            Request::SpaceRevokeInvite { space, invite } => {
                value(manager.revoke_invite(&space, &invite).await?)
            }
            Request::SpaceRemove { space } => value(manager.remove(&space).await?),
            Request::SpaceAdopt { directory } => value(manager.adopt(&directory).await?),
            Request::SpacePapers { space } => value(manager.papers(&space).await?),
            Request::SpaceEvents { space } => {
                let reader = manager.reader(&space).await?;
                self.services.reading.events(reader)
            }
            Request::Files { space, site } => {
                let files = self.files(space.as_deref(), site.as_deref())?;
                self.services.reading.files(files)
            }
            Request::File { space, site, name } => {
                let files = self.files(space.as_deref(), site.as_deref())?;
                self.services.reading.file(files, name)
            }
            Request::Sites {} => value(self.services.view(ServiceKind::Site).await),
            Request::SitePublish {
                directory,
                from,
                title,
                visible,
                port,
            } => {
                let published = self
                    .services
                    .sites
                    .publish(&directory, from, title, visible, port);
                value(published.await?)
            }
            Request::SiteUpdate {
                site,
                directory,
                from,
                title,
                visible,
            } => {
                let change = SiteChange {
                    copy: directory.map(|directory| (directory, from.unwrap_or_default())),
                    title,
                    visible,
                };
                value(self.services.sites.update(&site, change).await?)
            }
            Request::SiteList {} => value(self.services.sites.list()),
            Request::SiteRemove { site } => value(self.services.sites.remove(&site).await?),
            Request::SitePapers { site } => value(self.services.sites.papers(&site).await?),
            Request::NodePapers {} => {
                value(manager.node_papers(&self.status.name, &self.config).await?)
            }
        }
    }
}
