//! Routing tables among themselves, without links, frames or a clock: whatever links and losses do, next hops form no
//! loop; who is connected reaches everybody in the end; nobody's lies hold.

mod floods;
mod net;
mod properties;
mod restarts;
