//! What spaces say of themselves, kept for a while, so that a page that shows many does not ask each every time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::dialer::{Dialer, ServiceName};
use crate::invitation::{About, describe};

/// How long a description counts.
const FRESH: Duration = Duration::from_secs(60);
/// Descriptions that are kept.
const KEPT: usize = 128;

/// See the module.
#[derive(Debug, Default)]
pub struct Abouts(Mutex<HashMap<ServiceName, (Instant, About)>>);

impl Abouts {
    fn known(&self) -> MutexGuard<'_, HashMap<ServiceName, (Instant, About)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a space says of itself; `None` when it is not known and cannot be asked.
    pub async fn get(&self, dialer: &dyn Dialer, service: &ServiceName) -> Option<About> {
        let is_fresh = |asked: &Instant| asked.elapsed() < FRESH;
        if let Some((asked, about)) = self.known().get(service)
            && is_fresh(asked)
        {
            return Some(about.clone());
        }
        let about = describe(dialer, service).await?;
        let mut known = self.known();
        if known.len() >= KEPT {
            known.retain(|_, (asked, _)| is_fresh(asked));
        }
        if known.len() < KEPT {
            known.insert(service.clone(), (Instant::now(), about.clone()));
        }
        Some(about)
    }
}
