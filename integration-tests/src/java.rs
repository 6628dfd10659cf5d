//! Java programs that run beside the tests and benchmarks, with Apache Kafka and Kafka Streams resolved through Maven: compiled
//! once, into a cache folder below cargo's target folder. The harness has its own in `integration-tests/kafka/src`.

use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

const POM: &str = include_str!("../kafka/pom.xml");

/// A Java file: its name and its text.
pub type JavaSource = (&'static str, &'static str);

const HARNESS: [JavaSource; 4] = [
    ("Broker.java", include_str!("../kafka/src/Broker.java")),
    ("CountApps.java", include_str!("../kafka/src/CountApps.java")),
    ("Interop.java", include_str!("../kafka/src/Interop.java")),
    ("Topologies.java", include_str!("../kafka/src/Topologies.java")),
];

/// What to do where Java or Maven are missing.
pub(crate) const HOW_TO_INSTALL: &str = "install a JDK 17 or newer and Maven \
    (Debian, Ubuntu: apt-get install openjdk-17-jdk-headless maven; Homebrew: brew install openjdk@17 maven)";

/// Compiled Java programs, ready to run.
#[derive(Debug, Clone)]
pub struct JavaPrograms {
    class_path: String,
}

impl JavaPrograms {
    /// The programs of the harness: the broker, and Kafka Streams as the oracle of the tests.
    ///
    /// # Errors
    /// As [`JavaPrograms::compile`].
    pub(crate) fn of_the_harness() -> Result<Self> {
        static PREPARED: Mutex<Option<JavaPrograms>> = Mutex::new(None);
        let mut prepared = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(programs) = prepared.as_ref() {
            return Ok(programs.clone());
        }
        let programs = Self::compile(&HARNESS)?;
        Ok(prepared.insert(programs).clone())
    }

    /// Resolves the class path and compiles `sources`, or finds both in the cache. The first call on a machine downloads
    /// Kafka (150 MB), later ones take milliseconds.
    ///
    /// # Errors
    /// If there is no JDK or Maven, no way to the Maven repository, or a source is not valid Java; the error says what to
    /// install.
    pub fn compile(sources: &[JavaSource]) -> Result<Self> {
        let cache = crate::cargo_profile_folder()?.join("kafka-on-the-jvm");
        let folder = cache.join(hash_of(sources));
        if read_class_path(&folder).is_none() {
            build_into(&cache, &folder, sources)?;
        }
        let class_path = read_class_path(&folder).with_context(|| {
            format!("Maven left no class path in {}; delete that folder", folder.display())
        })?;
        Ok(Self { class_path })
    }

    /// A command that runs `main_class` in a JVM with `jvm_options` (such as `-Xmx512m`). Its log goes to stderr.
    #[must_use]
    pub fn command(&self, main_class: &str, jvm_options: &[&str]) -> Command {
        let mut command = Command::new(tool("java"));
        command
            .env("CLASSPATH", &self.class_path)
            .arg("-Dorg.slf4j.simpleLogger.showDateTime=true")
            .arg("-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS")
            .args(jvm_options)
            .arg(main_class);
        command
    }
}

/// Builds in a folder of its own and renames it, so that two test binaries which start at once do not meet.
fn build_into(cache: &Path, folder: &Path, sources: &[JavaSource]) -> Result<()> {
    fs::create_dir_all(cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let building =
        tempfile::tempdir_in(cache).context("cannot create a folder to build the Java programs in")?;
    let pom = building.path().join("pom.xml");
    let class_path_file = building.path().join("class_path.txt");
    fs::write(&pom, POM)?;
    for (name, source) in sources {
        fs::write(building.path().join(name), source)?;
    }
    let mut output_file = std::ffi::OsString::from("-Dmdep.outputFile=");
    output_file.push(&class_path_file);
    run(Command::new("mvn")
        .args(["-q", "-B", "-f"])
        .arg(&pom)
        .arg("dependency:build-classpath")
        .arg(output_file))?;
    let jars = fs::read_to_string(&class_path_file).context("Maven wrote no class path")?;
    run(Command::new(tool("javac"))
        .env("CLASSPATH", jars.trim())
        .args(["-nowarn", "--release", "17", "-d"])
        .arg(building.path().join("classes"))
        .args(sources.iter().map(|(name, _)| building.path().join(name))))?;
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot replace {}", folder.display()))?;
    }
    let renamed = fs::rename(building.path(), folder);
    // Another test binary may have been faster: its result is as good.
    if read_class_path(folder).is_none() {
        renamed.with_context(|| format!("cannot create {}", folder.display()))?;
    }
    Ok(())
}

/// The class path in `folder`, if all of it still exists.
fn read_class_path(folder: &Path) -> Option<String> {
    let jars = fs::read_to_string(folder.join("class_path.txt")).ok()?;
    let classes = folder.join("classes");
    let complete = classes.is_dir() && std::env::split_paths(jars.trim()).all(|jar| jar.is_file());
    complete.then(|| format!("{}:{}", classes.display(), jars.trim()))
}

fn hash_of(sources: &[JavaSource]) -> String {
    let mut hasher = DefaultHasher::new();
    (POM, sources).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// `java` or `javac`: of `JAVA_HOME` where that is set, else the one on the path.
fn tool(name: &str) -> PathBuf {
    match std::env::var_os("JAVA_HOME") {
        Some(home) => PathBuf::from(home).join("bin").join(name),
        None => PathBuf::from(name),
    }
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let program = Path::new(&program).file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let output = command.output().with_context(|| format!("cannot run {program}: {HOW_TO_INSTALL}"))?;
    ensure!(
        output.status.success(),
        "{program} failed with {}; {HOW_TO_INSTALL}, and see that Maven reaches a repository:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
