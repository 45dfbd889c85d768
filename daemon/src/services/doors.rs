//! Ports at the node's address, and room in what the island is told: the same for spaces and sites.

use warren_mesh::descriptor::MAX_SERVICES;
use warren_mesh::service::ServiceKind;

use super::Listener;
use super::hosted::Hosted;
use super::others::Shown;
use super::record::PORT_MIN;
use crate::control::protocol::{ControlError, ErrorCode};

/// Where ports begin, if nothing else is said.
const FIRST_PORT: u16 = 7447;

impl Hosted {
    /// Whether one more may be shown to the island: then it is told, and the port is bound. Where the data plane listens
    /// by itself there is no socket.
    pub async fn may_show(&self, one: Shown) -> Result<Option<Listener>, ControlError> {
        let shown = self.shown();
        let others = shown
            .iter()
            // The home's own makes room where there are too many.
            .filter(|other| other.kind != ServiceKind::Home)
            .filter(|other| other.kind != one.kind || other.id != one.id);
        if others.count() >= MAX_SERVICES {
            let most = MAX_SERVICES.to_string();
            return Err(ControlError::new(ErrorCode::TooManyVisible, most));
        }
        let port = one.port;
        let listener = self
            .bind(port)
            .map_err(|_| ControlError::new(ErrorCode::PortTaken, port.to_string()))?;
        self.tell(one).await?;
        Ok(listener)
    }

    /// Tells the island of one more, or of a new title.
    pub async fn tell(&self, one: Shown) -> Result<(), ControlError> {
        let told = self.announce_with(Some(one)).await;
        told.map_err(|_| ControlError {
            code: ErrorCode::AnnouncementTooLong,
            args: Vec::new(),
        })
    }

    /// Tells the island how things are now.
    pub async fn say(&self) {
        if let Err(error) = self.announce().await {
            log::error!("the island is not told of what is here: {error}");
        }
    }

    /// The wanted port if it is free, or any that is.
    pub fn free_port(&self, wanted: Option<u16>) -> Result<u16, ControlError> {
        let (spaces, others) = (self.spaces(), self.others());
        let free = |port: &u16| {
            !spaces.iter().any(|space| space.record.port == *port)
                && !others.iter().any(|service| service.port == *port)
                && self.bind(*port).is_ok()
        };
        match wanted {
            // Told apart by the check of the whole record.
            Some(port) if port < PORT_MIN => Ok(port),
            Some(port) if free(&port) => Ok(port),
            Some(port) => Err(ControlError::new(ErrorCode::PortTaken, port.to_string())),
            None => (FIRST_PORT..u16::MAX)
                .find(free)
                .ok_or_else(|| ControlError::new(ErrorCode::PortTaken, FIRST_PORT.to_string())),
        }
    }
}
