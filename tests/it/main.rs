//! All integration tests in one binary: they run the program as users do, on pictures that ship with the project.

mod architecture;
mod atlas;
mod bad_files;
mod beside;
mod checkpoints;
mod classifiers;
mod cli;
mod cluster;
mod commands;
mod drawn;
mod duplicates;
mod evaluate;
mod explain;
mod export;
mod foreign_files;
mod gpu;
mod hostile_files;
mod init;
mod inputs;
mod int8;
mod integrity;
mod leaderboard;
mod mend;
mod models;
mod networks;
mod novelty;
mod onnx;
mod outputs;
mod own_weights;
mod pipelines;
mod precision;
mod predict;
mod remote;
mod report;
mod resources;
mod restart;
mod resume;
#[allow(dead_code, reason = "the tests of the client use all of it")]
#[path = "../../crates/remote/src/tests/server.rs"]
mod server;
mod sources;
mod support;
mod tables;
mod transformers;
mod weights_store;
mod zoo;
