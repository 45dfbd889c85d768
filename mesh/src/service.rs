//! Services by key: names, the master key and the 30-day keys made from it, and how a node proves that it may speak for a
//! service. Knows no clock: the day comes in as an argument, and one day more or less is accepted everywhere.
//!
//! | signed bytes | by |
//! |---|---|
//! | "warren service certificate v1", service key 32, signing key 32, first day 4 | the service key |
//! | "warren service announcement v1", service key 32, node address 16, port 2, title | the signing key (or the service key itself) |
//!
//! Certificate on disk and on the wire: version 1 (1), service key 32, signing key 32, first day 4, signature 64.

use core::fmt;
use core::str::FromStr;

use data_encoding::{BASE32_NOPAD, Encoding, Specification};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::descriptor::ServiceAnnouncement;
use crate::identity::NodeAddress;
use crate::wire::{Reader, Truncated, Writer};

/// Letters of a service name.
pub const NAME_LEN: usize = 52;
/// Days a signing key may be used.
pub const CERTIFICATE_DAYS: u32 = 30;
/// Longest title, bytes.
pub const MAX_TITLE: usize = 64;
/// Length of a certificate, bytes.
pub const CERTIFICATE_LEN: usize = 133;

const VERSION: u8 = 1;
const CERTIFICATE_CONTEXT: &[u8] = b"warren service certificate v1";
const ANNOUNCEMENT_CONTEXT: &[u8] = b"warren service announcement v1";

/// What is wrong with a service's name or papers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Not 52 letters and digits of base32.
    #[error("a service name is 52 letters a-z and digits 2-7")]
    Name,
    /// Not a point of the curve, or one of small order.
    #[error("these 32 bytes are no usable service key")]
    Key,
    /// Bytes that are no certificate of this version.
    #[error("the bytes are no service certificate of this version")]
    Certificate,
    /// A signature that does not fit.
    #[error("the signature does not fit: this node may not speak for this service")]
    Signature,
    /// Before the first or after the last day.
    #[error(
        "the service's signing key is only good for days {first} to {last}; make a new one with the master key"
    )]
    Expired {
        /// First day of validity.
        first: Day,
        /// Last day of validity.
        last: Day,
    },
    /// Longer than [`MAX_TITLE`], or with control characters.
    #[error("a title is at most 64 bytes without control characters")]
    Title,
}

impl From<Truncated> for ServiceError {
    fn from(_: Truncated) -> Self {
        Self::Certificate
    }
}

/// Days since 1970-01-01, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u32);

impl Day {
    /// The day of a Unix time in seconds.
    pub const fn from_unix(seconds: u64) -> Self {
        let day = seconds / 86_400;
        Self(if day > u32::MAX as u64 {
            u32::MAX
        } else {
            day as u32
        })
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A service's Ed25519 public key. Shown as its name: 52 lower-case letters and digits (base32 of RFC 4648, no padding).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey(pub [u8; 32]);

impl ServiceKey {
    fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), ServiceError> {
        VerifyingKey::from_bytes(&self.0)
            .map_err(|_| ServiceError::Key)?
            .verify_strict(message, &Signature::from_bytes(signature))
            .map_err(|_| ServiceError::Signature)
    }
}

fn base32() -> Result<Encoding, ServiceError> {
    let mut specification = Specification::new();
    specification
        .symbols
        .push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().map_err(|_| ServiceError::Name)
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ServiceKey {
    type Err = ServiceError;

    /// Only the one form in lower case: two spellings of a name would be two origins to a browser.
    fn from_str(name: &str) -> Result<Self, ServiceError> {
        if name.len() != NAME_LEN {
            return Err(ServiceError::Name);
        }
        let bytes = base32()?
            .decode(name.as_bytes())
            .map_err(|_| ServiceError::Name)?;
        Ok(Self(bytes.try_into().map_err(|_| ServiceError::Name)?))
    }
}

/// The master key's word that another key may speak for the service for 30 days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCertificate {
    /// The service.
    pub service: ServiceKey,
    /// Who may sign for it.
    pub signing: [u8; 32],
    /// First of the [`CERTIFICATE_DAYS`].
    pub first_day: Day,
    /// By the service key.
    pub signature: [u8; 64],
}

impl ServiceCertificate {
    fn message(service: &ServiceKey, signing: &[u8; 32], first_day: Day) -> Vec<u8> {
        let mut message = CERTIFICATE_CONTEXT.to_vec();
        message.put(&service.0);
        message.put(signing);
        message.put_u32(first_day.0);
        message
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CERTIFICATE_LEN);
        out.put_u8(VERSION);
        out.put(&self.service.0);
        out.put(&self.signing);
        out.put_u32(self.first_day.0);
        out.put(&self.signature);
        out
    }

    /// Reads a certificate; whether it is true and in time, [`ServiceCertificate::verify`] says.
    pub fn decode(bytes: &[u8]) -> Result<Self, ServiceError> {
        let mut reader = Reader::new(bytes);
        if bytes.len() != CERTIFICATE_LEN || reader.u8()? != VERSION {
            return Err(ServiceError::Certificate);
        }
        Ok(Self {
            service: ServiceKey(reader.array()?),
            signing: reader.array()?,
            first_day: Day(reader.u32()?),
            signature: reader.array()?,
        })
    }

    /// Checks signature and days. The day before the first and the day after the last are accepted: clocks differ.
    pub fn verify(&self, today: Day) -> Result<(), ServiceError> {
        let last = Day(self.first_day.0.saturating_add(CERTIFICATE_DAYS - 1));
        if today.0.saturating_add(1) < self.first_day.0 || today.0 > last.0.saturating_add(1) {
            return Err(ServiceError::Expired {
                first: self.first_day,
                last,
            });
        }
        let message = Self::message(&self.service, &self.signing, self.first_day);
        self.service.verify(&message, &self.signature)
    }
}

/// Signs for a service: its master key, or a 30-day key with a certificate. Never printed; zeroised when dropped.
pub struct ServiceSigner {
    key: SigningKey,
    certificate: Option<ServiceCertificate>,
}

impl ServiceSigner {
    /// The holder of the master key with this seed.
    pub fn master(seed: &[u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(seed),
            certificate: None,
        }
    }

    /// A box that holds a signing key and the master's certificate for it.
    pub fn certified(
        seed: &[u8; 32],
        certificate: ServiceCertificate,
    ) -> Result<Self, ServiceError> {
        let key = SigningKey::from_bytes(seed);
        if certificate.signing != key.verifying_key().to_bytes() {
            return Err(ServiceError::Certificate);
        }
        Ok(Self {
            key,
            certificate: Some(certificate),
        })
    }

    /// The service it signs for.
    pub fn service(&self) -> ServiceKey {
        match &self.certificate {
            Some(certificate) => certificate.service,
            None => ServiceKey(self.key.verifying_key().to_bytes()),
        }
    }

    /// The master's word for this key, if it is not the master.
    pub const fn certificate(&self) -> Option<&ServiceCertificate> {
        self.certificate.as_ref()
    }

    /// Certifies another key for 30 days from `first_day`. Only the master can.
    pub fn certify(
        &self,
        signing: [u8; 32],
        first_day: Day,
    ) -> Result<ServiceCertificate, ServiceError> {
        if self.certificate.is_some() {
            return Err(ServiceError::Certificate);
        }
        VerifyingKey::from_bytes(&signing).map_err(|_| ServiceError::Key)?;
        let service = self.service();
        let message = ServiceCertificate::message(&service, &signing, first_day);
        Ok(ServiceCertificate {
            service,
            signing,
            first_day,
            signature: self.key.sign(&message).to_bytes(),
        })
    }

    /// The public half of the key with this seed: what a master is asked to certify.
    pub fn signing_key(seed: &[u8; 32]) -> [u8; 32] {
        SigningKey::from_bytes(seed).verifying_key().to_bytes()
    }

    /// Says that the service is at `port` of the node.
    pub fn announce(
        &self,
        node: &NodeAddress,
        port: u16,
        title: &str,
    ) -> Result<ServiceAnnouncement, ServiceError> {
        if !is_title(title) {
            return Err(ServiceError::Title);
        }
        let key = self.service();
        let message = announcement_message(&key, node, port, title);
        Ok(ServiceAnnouncement {
            key: key.0,
            port,
            title: title.to_owned(),
            is_home: false,
            proof: ServiceProof {
                signature: self.key.sign(&message).to_bytes(),
                certificate: self.certificate.clone(),
            },
        })
    }
}

impl fmt::Debug for ServiceSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceSigner({})", self.service())
    }
}

/// Why others may believe an announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceProof {
    /// Over service, node, port and title.
    pub signature: [u8; 64],
    /// If the signature is not the service key's own.
    pub certificate: Option<ServiceCertificate>,
}

/// Whether text is fit to be shown as a title.
pub fn is_title(title: &str) -> bool {
    title.len() <= MAX_TITLE && !title.chars().any(char::is_control)
}

fn announcement_message(
    service: &ServiceKey,
    node: &NodeAddress,
    port: u16,
    title: &str,
) -> Vec<u8> {
    let mut message = ANNOUNCEMENT_CONTEXT.to_vec();
    message.put(&service.0);
    message.put(node.as_bytes());
    message.put_u16(port);
    message.put(title.as_bytes());
    message
}

impl ServiceAnnouncement {
    /// Checks that the service's key holder put it on this node, as of `today`. One or two signature checks: done by who
    /// is about to use the service, not for everything that passes by.
    pub fn verify(&self, node: &NodeAddress, today: Day) -> Result<(), ServiceError> {
        let service = ServiceKey(self.key);
        let message = announcement_message(&service, node, self.port, &self.title);
        match &self.proof.certificate {
            Some(certificate) => {
                if certificate.service != service {
                    return Err(ServiceError::Certificate);
                }
                certificate.verify(today)?;
                ServiceKey(certificate.signing).verify(&message, &self.proof.signature)
            }
            None => service.verify(&message, &self.proof.signature),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::MeshIdentity;

    #[test]
    fn a_name_has_one_spelling() {
        let key = ServiceSigner::master(&[7; 32]).service();
        let name = key.to_string();
        assert_eq!(name.len(), NAME_LEN);
        assert_eq!(name.parse(), Ok(key));
        assert_eq!(
            name.to_uppercase().parse::<ServiceKey>(),
            Err(ServiceError::Name)
        );
        assert_eq!(name[1..].parse::<ServiceKey>(), Err(ServiceError::Name));
        assert_eq!(
            format!("{}1", &name[1..]).parse::<ServiceKey>(),
            Err(ServiceError::Name)
        );
        // The last letter holds four spare bits, which have to be zero.
        let spare = format!("{}b", &name[..51]);
        assert_eq!(spare.parse::<ServiceKey>(), Err(ServiceError::Name));
    }

    #[test]
    fn a_certificate_is_good_for_its_days_and_one_around() {
        let master = ServiceSigner::master(&[1; 32]);
        let certificate = master
            .certify(ServiceSigner::signing_key(&[2; 32]), Day(20_000))
            .unwrap();
        assert_eq!(
            ServiceCertificate::decode(&certificate.encode()),
            Ok(certificate.clone())
        );
        for (day, good) in [
            (19_998, false),
            (19_999, true),
            (20_000, true),
            (20_030, true),
            (20_031, false),
        ] {
            assert_eq!(certificate.verify(Day(day)).is_ok(), good, "day {day}");
        }
        let mut forged = certificate.clone();
        forged.first_day = Day(20_001);
        assert_eq!(forged.verify(Day(20_010)), Err(ServiceError::Signature));
    }

    #[test]
    fn an_announcement_holds_for_one_node_port_and_title() {
        let (here, there) = (
            MeshIdentity::from_seed(&[8; 32]),
            MeshIdentity::from_seed(&[9; 32]),
        );
        let master = ServiceSigner::master(&[1; 32]);
        let certificate = master
            .certify(ServiceSigner::signing_key(&[2; 32]), Day(100))
            .unwrap();
        let boxed = ServiceSigner::certified(&[2; 32], certificate.clone()).unwrap();
        assert!(ServiceSigner::certified(&[3; 32], certificate).is_err());
        assert!(boxed.certify([0; 32], Day(1)).is_err());
        for signer in [&master, &boxed] {
            let announced = signer
                .announce(&here.address(), 7447, "Garden club")
                .unwrap();
            assert_eq!(announced.key, master.service().0);
            assert_eq!(announced.verify(&here.address(), Day(110)), Ok(()));
            assert_eq!(
                announced.verify(&there.address(), Day(110)),
                Err(ServiceError::Signature)
            );
            let other_port = ServiceAnnouncement {
                port: 1,
                ..announced.clone()
            };
            assert_eq!(
                other_port.verify(&here.address(), Day(110)),
                Err(ServiceError::Signature)
            );
        }
        assert_eq!(
            master.announce(&here.address(), 1, "a\nb"),
            Err(ServiceError::Title)
        );
        assert_eq!(
            master.announce(&here.address(), 1, &"x".repeat(65)),
            Err(ServiceError::Title)
        );
    }
}
