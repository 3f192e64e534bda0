//! The web administration: pages for people, and the HTTP/JSON door to the control sockets.
//!
//! Every page is made here and works without script; what it shows and does goes over the control
//! socket of a daemon, and nothing else of the daemon is touched.
//!
//! * [`settings`]: `web.yaml` and the users file.
//! * [`daemon`]: calls over a control socket.
//! * [`routes`]: **every** URL.
//! * [`pages`]: a file per page or action, with its view and template.
//! * [`middleware`]: what stands in front of the pages: login, form tokens, headers.
//! * [`api`]: `POST /api/protobuf`.
//! * [`auth`]: passwords, sessions, the brake on guessing.
//! * [`server`]: connections; [`state`]: what requests share.
#![forbid(unsafe_code)]

pub mod api;
pub mod auth;
pub mod daemon;
pub mod middleware;
pub mod pages;
pub mod routes;
pub mod server;
pub mod settings;
pub mod state;
