//! IPv6 packets of people's programs: headers, errors, what may come in.
pub mod policy;
