//! The command line, with a file for each command. Only this folder prints results and decides the exit code.

mod acceptance;
mod arguments;
mod bench;
mod classify;
mod clean;
mod completions;
#[cfg(test)]
mod docs;
mod embed;
mod evaluate;
mod export;
mod extract;
mod init;
mod leaderboard;
mod models;
mod plan;
mod predict;
mod predictions;
mod ranges;
mod run;
mod runs;
mod sheet;
mod show;
mod similar;
mod split;
mod top;
mod weights;
mod workers;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::{Parser, Subcommand};
use serde_json::json;

use self::arguments::{
    FetchArgs, LogArgs, PipelineArgs, StoreArgs, check_folder, class_names, default_pipeline, find_model, source, style,
};
use crate::config;
use crate::error::Error;
use crate::exec::ExecError;
use crate::image;
use crate::io::IoError;
use crate::io::output::STDOUT;
use crate::pictures::PredictorError;
use crate::progress::{Style, Ui};
use crate::terminal::{Colours, printable_json, printable_lines};
use crate::threads;
use featurize_nets::files::FileError;

/// Turn folders of images into feature tables and classifiers.
#[derive(Debug, Parser)]
#[command(name = "featurize", version, max_term_width = 100, propagate_version = true)]
#[command(
    after_help = "Example:\n  featurize run pipelines/fruits.yaml\n\nExit codes: 0 done, 1 failed, 2 wrong command \
                  line or YAML, 130 interrupted (start again to go on)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline; stages that an earlier run has finished are not computed again.
    #[command(after_help = "Example:\n  featurize run pipelines/fruits.yaml --set reduce.pca.components=0.95 --out \
                      /tmp/fruits")]
    Run {
        #[command(flatten)]
        pipeline: PipelineArgs,
        #[command(flatten)]
        options: run::RunArgs,
    },
    /// Compute a part of a run's tables of features, while other machines compute the rest.
    ///
    /// The run is listed first: `featurize run FILE --until scan`. Then any number of processes compute their parts, at
    /// any time and as often as one likes: what is there is not computed again, and one that was killed is started
    /// again. `featurize run FILE` finds the tables, computes what is missing, and goes on. All machines see the
    /// pictures and the run's folder under the same paths, and compute with the same version and the same kernels.
    #[command(after_help = "Examples:\n  featurize extract pipelines/fruits.yaml --shard 3/64\n  featurize extract \
                      pipelines/fruits.yaml --shards 64")]
    Extract {
        #[command(flatten)]
        pipeline: PipelineArgs,
        #[command(flatten)]
        options: extract::ExtractArgs,
    },
    /// Show which stages a run would compute, and why. Writes and downloads nothing.
    #[command(after_help = "Example:\n  featurize plan pipelines/fruits.yaml")]
    Plan {
        #[command(flatten)]
        pipeline: PipelineArgs,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Classify new pictures with the classifier of a run.
    ///
    /// Every picture goes through everything that the run saved: recipe, network, kept columns, components, classifier.
    /// The run's own pictures get the probabilities of its predictions.parquet again. Needs only the folder of the run:
    /// no YAML file and no pictures. Runs on the kind of device that the run was computed on, unless --device names
    /// another.
    ///
    /// A picture that cannot be read is named on standard error, with --json in a line of the output. The others are
    /// classified all the same, and the exit code is 1.
    #[command(
        after_help = "Examples:\n  featurize predict runs/fruits photo.jpg more/pictures\n  find . -name '*.jpg' | \
                      featurize predict runs/fruits - --top 1 --csv > labels.csv\n  featurize predict runs/fruits \
                      more/pictures --annotate labelled\n  featurize predict runs/fruits more/pictures --parquet \
                      predictions.parquet\n  featurize predict runs/fruits more/pictures --reject-rate 0.05\n  \
                      featurize predict runs/fruits photos/by-class --labels folder"
    )]
    Predict(predict::PredictArgs),
    /// Classify pictures with a network's own ImageNet classifier; needs no run.
    ///
    /// A picture that cannot be read is named on standard error, with --json in a line of the output. The others are
    /// classified all the same, and the exit code is 1.
    #[command(
        after_help = "Examples:\n  featurize classify photo.jpg\n  featurize classify --top 5 --json my/pictures"
    )]
    Classify(classify::ClassifyArgs),
    /// Measure the classifier of a run on new labelled pictures: accuracy with its interval, scores of each class,
    /// mistakes, calibration.
    ///
    /// A picture that cannot be read is named on standard error. The others are scored all the same, and the exit code
    /// is 1.
    #[command(
        after_help = "Examples:\n  featurize evaluate runs/fruits photos/by-class\n  featurize evaluate runs/fruits \
                      photos --labels labels.csv --report scores.html"
    )]
    Evaluate(evaluate::EvaluateArgs),
    /// Run a pipeline with several networks, and compare them in one table: accuracy with its interval, log loss,
    /// speed.
    ///
    /// Each network gets a run of its own below `runs/NAME-leaderboard`, or below --out. The pictures are listed once
    /// (more than a million of them once for each network), and features that a run in the same folder has computed are
    /// taken. Stages that are done are not computed again.
    #[command(
        after_help = "Example:\n  featurize leaderboard photos.yaml --models efficientnet_lite0,resnet50,vgg16=keras"
    )]
    Leaderboard {
        #[command(flatten)]
        pipeline: PipelineArgs,
        #[command(flatten)]
        options: leaderboard::LeaderboardArgs,
    },
    /// Divide the pictures of a pipeline into train and test, with near copies on one side, and write the table of it.
    ///
    /// Pictures that are nearly the same and lie on both sides of a split make every score too good. The table has the
    /// columns `path`, `label`, `split` and `group`; `input.split: {csv: FILE}` reads it.
    #[command(
        after_help = "Example:\n  featurize split photos.yaml --keep-together --table split.csv\n  featurize run \
                      photos.yaml --set 'input.split={csv: split.csv}'"
    )]
    Split {
        #[command(flatten)]
        pipeline: PipelineArgs,
        #[command(flatten)]
        options: split::SplitArgs,
    },
    /// Write what a run has learnt as an ONNX file for other programs, or as a model card.
    ///
    /// The ONNX file holds everything from the prepared picture, or from its pixels, to the probability of every class,
    /// in f32, with the names of the classes, the recipe and the provenance in its metadata. Resizing and cutting are
    /// left to its user. Where the file can be read back, it is compared with the run first.
    #[command(
        after_help = "Examples:\n  featurize export runs/fruits --onnx fruits.onnx --from-pixels\n  featurize export \
                      runs/fruits --card fruits.md"
    )]
    Export(export::ExportArgs),
    /// Look at a folder of pictures and write a pipeline for it.
    ///
    /// Finds folders of classes, folders of splits (Training/Test, train/val/test), a CSV table that names the
    /// pictures, and classes in the names of files, and prints what it found.
    #[command(
        after_help = "Examples:\n  featurize init my/pictures\n  featurize init my/pictures -o pets.yaml --force"
    )]
    Init(init::InitArgs),
    /// Show a run in a few lines, or the columns and first rows of a Parquet file.
    #[command(
        after_help = "Examples:\n  featurize show runs/fruits\n  featurize show runs/fruits/reduced.parquet -n 10"
    )]
    Show(show::ShowArgs),
    /// List the runs below a folder: name, date, model, pictures, accuracy, size.
    #[command(after_help = "Examples:\n  featurize runs\n  featurize runs elsewhere/runs --json")]
    Runs(runs::RunsArgs),
    /// Compare two runs: settings, accuracy, classes, time.
    #[command(after_help = "Example:\n  featurize diff runs/fruits runs/fruits-resnet50")]
    Diff(runs::DiffArgs),
    /// Delete files that a run has written; without --yes, only list them.
    #[command(after_help = "Examples:\n  featurize clean runs/fruits\n  featurize clean runs/fruits --features --yes")]
    Clean(clean::CleanArgs),
    /// Write the features of pictures to one Parquet or CSV file, without a YAML file. They are those of a run.
    ///
    /// Memory does not grow with the number of pictures. A picture that cannot be read is named on standard error. The
    /// others are computed all the same, and the exit code is 1.
    #[command(
        after_help = "Examples:\n  featurize embed my/pictures -o features.parquet\n  featurize embed my/pictures -o \
                      features.csv\n  find . -name '*.png' | featurize embed - -o f.parquet --model resnet50 --weights \
                      torchvision --features max"
    )]
    Embed(embed::EmbedArgs),
    /// Find the pictures of a run that are most similar to others, by the cosine of their features.
    #[command(
        after_help = "Examples:\n  featurize similar runs/fruits photo.jpg -k 5\n  featurize similar runs/fruits \
                      photo.jpg --sheet similar.png --split train"
    )]
    Similar(similar::SimilarArgs),
    /// List the networks, or describe one.
    #[command(after_help = "Examples:\n  featurize models list\n  featurize models show efficientnet_lite0")]
    Models {
        #[command(subcommand)]
        command: models::ModelsCommand,
    },
    /// Measure the speed of a network on this machine, in all and layer by layer.
    #[command(
        after_help = "Examples:\n  featurize bench --model resnet50 --layers\n  featurize bench --model vgg16 --images \
                      my/pictures"
    )]
    Bench(bench::BenchArgs),
    /// Print the JSON Schema of the YAML file, for editors.
    ///
    /// With the line `# yaml-language-server: $schema=FILE` at the top of a pipeline, an editor with YAML support (VS
    /// Code, Neovim, IntelliJ, Zed) completes keys, shows their meaning and underlines mistakes.
    #[command(after_help = "Example:\n  featurize schema > featurize.schema.json")]
    Schema,
    /// Print the completions of the command line for a shell.
    #[command(after_help = "Examples:\n  featurize completions bash > \
                      ~/.local/share/bash-completion/completions/featurize\n  featurize completions zsh > \
                      ~/.zfunc/_featurize\n  featurize completions fish > ~/.config/fish/completions/featurize.fish")]
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all commands to a folder.
    #[command(after_help = "Examples:\n  featurize man | man -l -\n  featurize man ~/.local/share/man/man1")]
    Man {
        /// The folder to which a page for each command is written.
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
        /// Replace files in the folder even if they are no manual pages.
        #[arg(long, requires = "folder")]
        overwrite: bool,
    },
    /// List, download, import and verify trained weights.
    #[command(after_help = "Examples:\n  featurize weights list\n  featurize weights fetch vgg16 --source keras")]
    Weights {
        #[command(subcommand)]
        command: weights::WeightsCommand,
    },
}

/// Returns an error about the command line.
fn usage<T>(text: impl Into<String>) -> Result<T, Error> {
    Err(Error::Usage(text.into()))
}

/// Returns an error if `failed` of the pictures could not be read.
fn none_failed(failed: usize, of: usize) -> Result<(), Error> {
    if failed > 0 { Err(PredictorError::Failed { failed, of }.into()) } else { Ok(()) }
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    ExitCode::from(main_with(std::env::args_os().collect()))
}

/// Runs the program with `words`, the arguments including the program's name; returns the exit code.
pub fn main_with(words: Vec<OsString>) -> u8 {
    quiet_decoders();
    let start = Instant::now();
    let wants_json = wants_json(&words);
    let result = match Cli::try_parse_from(words) {
        Ok(cli) => prepare(&cli.command).and_then(|()| run(cli.command)),
        // help is written to standard output, like results
        Err(help) if !help.use_stderr() => help.print().map_err(unwritten),
        Err(wrong) if !wants_json => {
            wrong.print().ok();
            return 2;
        }
        Err(wrong) => Err(Error::Usage(wrong.render().to_string().trim_start_matches("error: ").to_string())),
    };
    // flushing the buffer may fail, too
    let result = result.and_then(|()| std::io::stdout().flush().map_err(unwritten));
    let Err(error) = result else { return 0 };
    // it is not an error if the reader of standard output closes it early (`| head`)
    if is_closed(&error) {
        return 0;
    }
    if !error.is_interrupted() {
        tell(&error, start, wants_json);
    }
    error.exit_code()
}

fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Run { pipeline, options } => run::run(&pipeline, &options),
        Command::Extract { pipeline, options } => extract::run(&pipeline, &options),
        Command::Leaderboard { pipeline, options } => leaderboard::run(&pipeline, &options),
        Command::Split { pipeline, options } => split::run(&pipeline, &options),
        Command::Plan { pipeline, store } => plan::run(&pipeline, &store),
        Command::Predict(arguments) => predict::run(&arguments),
        Command::Classify(arguments) => classify::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Models { command } => models::run(&command),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Embed(arguments) => embed::run(&arguments),
        Command::Similar(arguments) => similar::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Runs(arguments) => runs::list(&arguments),
        Command::Diff(arguments) => runs::diff(&arguments),
        Command::Clean(arguments) => clean::run(&arguments),
        Command::Completions { shell } => completions::completions(shell),
        Command::Man { folder, overwrite } => completions::man(folder.as_deref(), overwrite),
        Command::Schema => print(&serde_json::to_string_pretty(&config::schema())?),
        Command::Weights { command } => weights::run(&command),
    }
}

/// Prints the error of a command to standard error.
fn tell(error: &Error, start: Instant, wants_json: bool) {
    let text = error.to_string();
    let line = if wants_json {
        let elapsed_s = (start.elapsed().as_secs_f64() * 1e3).round() / 1e3;
        let event = json!({"level": "error", "message": text, "exit_code": error.exit_code(), "elapsed_s": elapsed_s});
        printable_json(&event.to_string()).into_owned()
    } else {
        format!("{}: {}", Colours::of_stderr().bad("error"), printable_lines(&text))
    };
    // if standard error is closed, the message cannot be shown
    writeln!(std::io::stderr().lock(), "{line}").ok();
}

/// Whether the arguments contain `--log json`. They are searched one by one, since they may not be parseable.
fn wants_json(words: &[OsString]) -> bool {
    words.iter().any(|word| word == "--log=json") || words.windows(2).any(|two| two[0] == "--log" && two[1] == "json")
}

/// The error for a failed write to standard output.
fn unwritten(error: std::io::Error) -> Error {
    IoError::write(Path::new(STDOUT))(error).into()
}

/// Whether the error is that the reader closed standard output.
fn is_closed(error: &Error) -> bool {
    matches!(error, Error::Io(IoError::File(FileError::Write { path, error }))
        if path == Path::new(STDOUT) && error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Starts the thread pool for commands that compute or read tables.
fn prepare(command: &Command) -> Result<(), Error> {
    match command {
        Command::Completions { .. } | Command::Man { .. } | Command::Schema | Command::Models { .. } => Ok(()),
        _ => Ok(threads::prepare().map_err(ExecError::from)?),
    }
}

/// Does not print the panic of a decoder. Its picture fails with a reason in the manifest.
fn quiet_decoders() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !image::is_decoding() {
            print(panic);
        }
    }));
}

/// The progress display of a command. Ctrl-C asks the command to stop; a second one ends the process.
fn ui(style: Style) -> Ui {
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    let handler = ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    let ui = Ui::new(style, stop);
    if let Err(error) = handler {
        ui.warn(&format!("Ctrl-C will end the run at once: {error}"));
    }
    ui
}

/// Writes a result, text or a JSON object, to standard output. Control characters are escaped.
fn print(text: &str) -> Result<(), Error> {
    put(&if text.starts_with('{') { printable_json(text) } else { printable_lines(text) })
}

/// Writes a line to standard output unchanged.
fn put(line: &str) -> Result<(), Error> {
    writeln!(std::io::stdout().lock(), "{line}").map_err(unwritten)
}
