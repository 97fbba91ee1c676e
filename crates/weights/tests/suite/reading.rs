//! Reading ahead: who does it, how far, and what becomes of the tensors.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use transformers_weights::conversion::Chunk;
use transformers_weights::{
    Checkpoint, HostTensor, LoadPlan, LoadRules, Prepare, ReadOptions, Result, WeightConverter,
    WeightsError, plan,
};

/// Gives the numbers of a checkpoint's tensors, each of which counts as so many bytes.
struct Numbers {
    checkpoint: Checkpoint,
    plan: LoadPlan,
    costs: Vec<usize>,
    begun: AtomicUsize,
    threads: Mutex<HashSet<ThreadId>>,
    panics_at: Option<usize>,
}

impl Prepare for Numbers {
    type Value = usize;

    fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    fn cost(&self, _: &str, tensor: &str) -> Result<usize> {
        Ok(self.costs[number(&self.checkpoint.tensor(tensor)?)])
    }

    fn read(&self, parameter: &str, tensor: &str) -> Result<usize> {
        self.finish(parameter, self.checkpoint.tensor(tensor)?)
    }

    fn finish(&self, _: &str, tensor: HostTensor) -> Result<usize> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.threads.lock().unwrap().insert(thread::current().id());
        thread::sleep(Duration::from_micros(200));
        let number = number(&tensor);
        assert_ne!(self.panics_at, Some(number));
        Ok(number)
    }
}

fn number(tensor: &HostTensor) -> usize {
    tensor.as_slice::<f32>().unwrap()[0] as usize
}

fn name(number: usize) -> String {
    format!("w.{number}")
}

fn numbers(costs: &[usize]) -> Numbers {
    let tensor = |number: usize| {
        let tensor = HostTensor::from_vec(vec![number as f32], vec![1]).unwrap();
        (name(number), tensor)
    };
    let checkpoint = Checkpoint::from_tensors((0..costs.len()).map(tensor));
    let parameters: Vec<_> = (0..costs.len()).map(|one| (name(one), vec![1])).collect();
    Numbers {
        plan: plan(&parameters, &checkpoint, &LoadRules::default()).unwrap(),
        checkpoint,
        costs: costs.to_vec(),
        begun: AtomicUsize::new(0),
        threads: Mutex::default(),
        panics_at: None,
    }
}

impl Numbers {
    /// Takes the tensors in this order, and tells `seen` about each.
    fn take(
        &self,
        readers: Option<usize>,
        bytes_in_flight: usize,
        order: impl IntoIterator<Item = usize>,
        seen: impl Fn(usize),
    ) -> Result<Vec<usize>> {
        let options = ReadOptions {
            readers,
            bytes_in_flight,
            ..ReadOptions::default()
        };
        self.plan.read(self, &options, |reader| {
            let take = |number| {
                seen(number);
                Ok(reader.take(&name(number))?.unwrap())
            };
            order.into_iter().map(take).collect::<Result<_>>()
        })
    }

    fn read_here(&self) -> bool {
        let threads = self.threads.lock().unwrap();
        *threads == HashSet::from([thread::current().id()])
    }
}

#[test]
fn at_most_four_threads_read_ahead_in_order() {
    let numbers = numbers(&[1; 200]);
    let pause = |_| thread::sleep(Duration::from_micros(50));
    let taken = numbers.take(Some(9), 50, 0..200, pause).unwrap();
    assert!(taken.into_iter().eq(0..200));
    let threads = numbers.threads.into_inner().unwrap();
    // And the one that asks.
    assert!((2..=5).contains(&threads.len()), "{}", threads.len());
}

#[test]
fn no_more_is_read_than_may_be_in_flight() {
    let numbers = numbers(&[3; 20]);
    let seen = |number: usize| {
        thread::sleep(Duration::from_millis(2));
        let begun = numbers.begun.load(Ordering::SeqCst);
        assert!(begun <= number + 3, "three of three fit");
    };
    numbers.take(Some(4), 10, 0..20, seen).unwrap();
    assert!(!numbers.read_here(), "threads read ahead");
    assert_eq!(numbers.begun.into_inner(), 20);
}

#[test]
fn what_is_larger_than_all_that_may_be_in_flight_is_read_too() {
    let numbers = numbers(&[3, 50, 50, 3]);
    assert_eq!(
        numbers.take(Some(4), 10, 0..4, |_| ()).unwrap(),
        [0, 1, 2, 3]
    );
}

#[test]
fn tensors_that_nobody_takes_hold_nothing_up() {
    for order in [vec![50, 99, 7], vec![]] {
        let numbers = numbers(&[10; 100]);
        let taken = numbers.take(Some(2), 20, order.clone(), |_| ()).unwrap();
        assert_eq!(taken, order);
    }
}

#[test]
fn little_is_read_by_the_one_who_asks() {
    let little = numbers(&[1; 5]);
    little.take(None, usize::MAX, 0..5, |_| ()).unwrap();
    assert!(little.read_here());
    let in_place = numbers(&[0; 5]);
    in_place.take(Some(4), usize::MAX, 0..5, |_| ()).unwrap();
    assert!(in_place.read_here());
    let much = numbers(&[4 << 20; 5]);
    let pause = |_| thread::sleep(Duration::from_millis(2));
    much.take(None, usize::MAX, 0..5, pause).unwrap();
    let cores = thread::available_parallelism().unwrap().get();
    assert_eq!(much.read_here(), cores == 1);
}

#[test]
fn a_panic_while_reading_is_an_error_and_not_waited_for_again() {
    for readers in [0, 2] {
        let mut numbers = numbers(&[1; 9]);
        numbers.panics_at = Some(3);
        let options = ReadOptions {
            readers: Some(readers),
            ..ReadOptions::default()
        };
        let read = numbers.plan.read(&numbers, &options, |reader| {
            for number in 0..9 {
                match reader.take(&name(number)) {
                    Ok(taken) => assert_eq!(taken, Some(number)),
                    Err(error) => {
                        assert!(error.to_string().contains("`w.3` panicked"), "{error}");
                        assert_eq!(number, 3);
                        assert_eq!(reader.take(&name(number))?, None);
                    }
                }
            }
            Ok::<_, WeightsError>(())
        });
        read.unwrap();
    }
}

/// The other numbers of a tensor that is parted come through `finish`.
#[test]
fn what_a_conversion_gives_is_prepared_too() {
    let fused = HostTensor::from_vec(vec![5.0_f32, 6.0, 7.0], vec![3]).unwrap();
    let checkpoint = Checkpoint::from_tensors([("qkv".to_owned(), fused)]);
    let part = WeightConverter::new(
        &["qkv"],
        &["w.5", "w.6", "w.7"],
        vec![std::sync::Arc::new(Chunk::new(0))],
    );
    let rules = LoadRules {
        transforms: &[part.unwrap().into()],
        ..LoadRules::default()
    };
    let parameters: Vec<_> = (5..8).map(|one| (name(one), vec![1])).collect();
    let mut numbers = numbers(&[1; 3]);
    numbers.plan = plan(&parameters, &checkpoint, &rules).unwrap();
    numbers.checkpoint = checkpoint;
    assert_eq!(numbers.plan.filled().count(), 3);
    for readers in [0, 1] {
        let taken = numbers.take(Some(readers), usize::MAX, [7, 5, 6], |_| ());
        assert_eq!(taken.unwrap(), [7, 5, 6]);
    }
    assert_eq!(numbers.begun.into_inner(), 6);
}
