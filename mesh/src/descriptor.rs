//! What a node tells about itself when asked: name and visible services, signed with its mesh key. Fetched on demand,
//! never flooded. Service proofs are carried here and checked by whoever uses the service (`service`).
//!
//! | field | bytes |
//! |---|---|
//! | version | 1: now 1 |
//! | number | 8: grows with every change |
//! | mesh key | 32 |
//! | features | 4: bits 8 to 11 say which service is the relay of the node's own people (1 the first, 0 none); who does not know of them sees a service as any |
//! | uplink | 1: 0 none, 1 has one |
//! | name | 1 length, at most 32 bytes UTF-8 |
//! | services | 1 count, at most 8 |
//! | each: service key | 32 |
//! | each: port | 2 |
//! | each: title | 1 length, at most 64 bytes UTF-8 |
//! | each: signature | 64 |
//! | each: certificate | 1 (0 or 1); if 1: signing key 32, first day 4, signature 64 |
//! | signature | 64: the mesh key's, over "warren descriptor v1" and everything before |
//!
//! At most 1200 bytes, one packet: how many services fit depends on their titles and certificates.

use crate::identity::{IdentityError, MeshIdentity, MeshPublicKey};
use crate::service::{Day, MAX_TITLE, ServiceCertificate, ServiceKey, ServiceProof, is_title};
use crate::wire::{Reader, Truncated, Writer};

/// Longest encoded descriptor, bytes.
pub const MAX_DESCRIPTOR: usize = 1200;
/// Longest name, bytes.
pub const MAX_NAME: usize = 32;
/// Most services.
pub const MAX_SERVICES: usize = 8;

const VERSION: u8 = 1;
const CONTEXT: &[u8] = b"warren descriptor v1";
const SIGNATURE_LEN: usize = 64;
/// The bits of the features that name the relay of the node's own people, and where they begin.
const HOME_BITS: u32 = 0xf << HOME_SHIFT;
const HOME_SHIFT: u32 = 8;

/// A visible service of a node. Made by [`crate::service::ServiceSigner::announce`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAnnouncement {
    /// Ed25519 service key.
    pub key: [u8; 32],
    /// TCP port on the node's address.
    pub port: u16,
    /// Title for people, at most 64 bytes of UTF-8.
    pub title: String,
    /// Whether the node says that it is where its own people write for everybody and are written to, and not a space.
    /// One of a node's services can be.
    pub is_home: bool,
    /// The service's word that it is on this node.
    pub proof: ServiceProof,
}

/// Whether a node reaches the Internet by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uplink {
    /// It does not, or does not say.
    #[default]
    None,
    /// It does.
    Present,
}

/// A node's signed self-description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Whose it is.
    pub key: MeshPublicKey,
    /// Of two descriptors of one node the higher number counts.
    pub number: u64,
    /// Name for people, at most 32 bytes of UTF-8.
    pub name: String,
    /// Bits for abilities; none is defined yet. Bits 8 to 11 are `is_home` of the services and not here.
    pub features: u32,
    /// Whether it has an uplink.
    pub uplink: Uplink,
    /// Its visible services, at most 8.
    pub services: Vec<ServiceAnnouncement>,
}

/// What is wrong with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// Bytes that are none of this version.
    #[error("the bytes are no descriptor of this version")]
    Malformed,
    /// More than fits into one packet.
    #[error(
        "the descriptor needs {0} bytes, 1200 fit: show fewer services or give them shorter titles"
    )]
    TooLong(usize),
    /// Name or title too long or not fit to be shown.
    #[error("a name is at most 32 bytes, a title at most 64, both without control characters")]
    Text,
    /// More than [`MAX_SERVICES`].
    #[error("a node shows at most 8 services, not {0}")]
    TooManyServices(usize),
    /// Not the key of the identity that signs.
    #[error("the descriptor is another node's")]
    Foreign,
    /// A signature that does not fit.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl From<Truncated> for DescriptorError {
    fn from(_: Truncated) -> Self {
        Self::Malformed
    }
}

impl Descriptor {
    /// The signed bytes.
    pub fn encode(&self, identity: &MeshIdentity) -> Result<Vec<u8>, DescriptorError> {
        if self.key != identity.public_key() {
            return Err(DescriptorError::Foreign);
        }
        if self.name.len() > MAX_NAME || !is_title(&self.name) {
            return Err(DescriptorError::Text);
        }
        if self.services.len() > MAX_SERVICES {
            return Err(DescriptorError::TooManyServices(self.services.len()));
        }
        let mut out = CONTEXT.to_vec();
        out.put_u8(VERSION);
        out.put_u64(self.number);
        out.put(&self.key.0);
        let home = self.services.iter().position(|service| service.is_home);
        let home = home.map_or(0, |at| at as u32 + 1); // at most 8
        out.put_u32(self.features & !HOME_BITS | home << HOME_SHIFT);
        out.put_u8(match self.uplink {
            Uplink::None => 0,
            Uplink::Present => 1,
        });
        put_text(&mut out, &self.name);
        out.put_u8(self.services.len() as u8);
        for service in &self.services {
            put_service(&mut out, service)?;
        }
        let signature = identity.sign(&out);
        out.put(&signature);
        out.drain(..CONTEXT.len());
        if out.len() > MAX_DESCRIPTOR {
            return Err(DescriptorError::TooLong(out.len()));
        }
        Ok(out)
    }

    /// Reads a descriptor and checks the node's signature. Service proofs are not checked here: that needs the day.
    pub fn decode(bytes: &[u8]) -> Result<Self, DescriptorError> {
        if bytes.len() > MAX_DESCRIPTOR {
            return Err(DescriptorError::Malformed);
        }
        let (body, signature) = bytes
            .split_last_chunk::<SIGNATURE_LEN>()
            .ok_or(DescriptorError::Malformed)?;
        let mut reader = Reader::new(body);
        if reader.u8()? != VERSION {
            return Err(DescriptorError::Malformed);
        }
        let number = reader.u64()?;
        let key = MeshPublicKey(reader.array()?);
        let features = reader.u32()?;
        let uplink = match reader.u8()? {
            1 => Uplink::Present,
            _ => Uplink::None,
        };
        let name = take_text(&mut reader, MAX_NAME)?;
        let count = usize::from(reader.u8()?);
        if count > MAX_SERVICES {
            return Err(DescriptorError::Malformed);
        }
        let mut services = (0..count)
            .map(|_| take_service(&mut reader))
            .collect::<Result<Vec<_>, _>>()?;
        // One that says more than this version knows of is read as if it said nothing.
        let home = ((features & HOME_BITS) >> HOME_SHIFT) as usize;
        if let Some(service) = home.checked_sub(1).and_then(|at| services.get_mut(at)) {
            service.is_home = true;
        }
        if !reader.is_empty() {
            return Err(DescriptorError::Malformed);
        }
        let mut signed = Vec::with_capacity(CONTEXT.len() + body.len());
        signed.put(CONTEXT);
        signed.put(body);
        key.verify(&signed, signature)?;
        Ok(Self {
            key,
            number,
            name,
            features: features & !HOME_BITS,
            uplink,
            services,
        })
    }

    /// The services whose keys' holders really put them on this node, as of `today`.
    pub fn verified_services(&self, today: Day) -> impl Iterator<Item = &ServiceAnnouncement> {
        let node = self.key.address();
        self.services
            .iter()
            .filter(move |service| service.verify(&node, today).is_ok())
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u8(text.len() as u8);
    out.put(text.as_bytes());
}

fn take_text(reader: &mut Reader<'_>, longest: usize) -> Result<String, DescriptorError> {
    let len = usize::from(reader.u8()?);
    let text = core::str::from_utf8(reader.take(len)?).map_err(|_| DescriptorError::Text)?;
    if len > longest || !is_title(text) {
        return Err(DescriptorError::Text);
    }
    Ok(text.to_owned())
}

fn put_service(out: &mut Vec<u8>, service: &ServiceAnnouncement) -> Result<(), DescriptorError> {
    if !is_title(&service.title) {
        return Err(DescriptorError::Text);
    }
    out.put(&service.key);
    out.put_u16(service.port);
    put_text(out, &service.title);
    out.put(&service.proof.signature);
    out.put_u8(service.proof.certificate.is_some().into());
    if let Some(certificate) = &service.proof.certificate {
        out.put(&certificate.signing);
        out.put_u32(certificate.first_day.0);
        out.put(&certificate.signature);
    }
    Ok(())
}

fn take_service(reader: &mut Reader<'_>) -> Result<ServiceAnnouncement, DescriptorError> {
    let key = reader.array()?;
    let port = reader.u16()?;
    let title = take_text(reader, MAX_TITLE)?;
    let signature = reader.array()?;
    let certificate = match reader.u8()? {
        0 => None,
        1 => Some(ServiceCertificate {
            service: ServiceKey(key),
            signing: reader.array()?,
            first_day: Day(reader.u32()?),
            signature: reader.array()?,
        }),
        _ => return Err(DescriptorError::Malformed),
    };
    Ok(ServiceAnnouncement {
        key,
        port,
        title,
        is_home: false,
        proof: ServiceProof {
            signature,
            certificate,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::ServiceSigner;

    #[test]
    fn a_node_names_the_relay_of_its_people_among_its_services() {
        let identity = MeshIdentity::from_seed(&[8; 32]);
        let node = identity.address();
        for home in [None, Some(0), Some(7)] {
            let services = (0..MAX_SERVICES).map(|n| {
                let signer = ServiceSigner::master(&[n as u8 + 1; 32]);
                ServiceAnnouncement {
                    is_home: home == Some(n),
                    ..signer.announce(&node, 7000, "x").unwrap()
                }
            });
            let descriptor = Descriptor {
                key: identity.public_key(),
                number: 1,
                name: "box".into(),
                features: 0x8000_0001,
                uplink: Uplink::None,
                services: services.collect(),
            };
            let bytes = descriptor.encode(&identity).unwrap();
            assert_eq!(Descriptor::decode(&bytes), Ok(descriptor));
        }
    }

    #[test]
    fn a_node_that_names_a_service_it_does_not_have_names_none() {
        let identity = MeshIdentity::from_seed(&[8; 32]);
        let mut descriptor = Descriptor {
            key: identity.public_key(),
            number: 1,
            name: String::new(),
            features: 0,
            uplink: Uplink::None,
            services: Vec::new(),
        };
        let signer = ServiceSigner::master(&[1; 32]);
        let mut service = signer.announce(&identity.address(), 7000, "x").unwrap();
        service.is_home = true;
        descriptor.services = vec![service.clone(), service];
        let bytes = descriptor.encode(&identity).unwrap();
        // The number is the third byte of the features, behind version, number and key.
        let at = 1 + 8 + 32 + 2;
        assert_eq!(bytes[at], 1);
        for named in [3, 15] {
            let mut body = CONTEXT.to_vec();
            body.extend(&bytes[..bytes.len() - SIGNATURE_LEN]);
            body[CONTEXT.len() + at] = named;
            let signature = identity.sign(&body);
            body.extend(signature);
            let read = Descriptor::decode(&body[CONTEXT.len()..]).unwrap();
            assert!(read.services.iter().all(|service| !service.is_home));
        }
    }
}
