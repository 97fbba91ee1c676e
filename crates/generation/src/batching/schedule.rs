//! What a step computes: first what goes on, then what begins, as far as tokens and blocks reach.

use super::engine::Engine;
use super::task::Task;

impl Engine<'_> {
    /// Plans the next step: afterwards every running task says how many tokens it computes.
    pub(super) fn plan(&mut self) {
        self.pool.settle();
        self.renew();
        let mut budget = self.config.max_batch_tokens;
        // Who decodes waits for no prompt.
        for prompts in [false, true] {
            let mut index = 0;
            while index < self.running.len() {
                let task = &self.running[index];
                let left = task.left();
                if (left > 1) != prompts || task.planned > 0 || budget == 0 || !self.may_run(index)
                {
                    index += 1;
                    continue;
                }
                let order = task.order;
                let new = self.piece(task, budget);
                let freed = self.grow(index, new);
                budget += freed;
                // It may have given way itself.
                if self
                    .running
                    .get(index)
                    .is_some_and(|task| task.order == order)
                {
                    self.running[index].planned = new;
                    budget = budget.saturating_sub(new);
                    index += 1;
                }
            }
        }
        for task in self.running.iter_mut().filter(|_| self.shares) {
            task.publish(&mut self.pool, self.setup.block_size);
        }
        while budget > 0 && self.running.len() < self.config.max_requests_per_batch {
            let Some(planned) = self.admit(budget) else {
                break;
            };
            budget = budget.saturating_sub(planned);
        }
    }

    /// While it is not known whose fault an error was, its suspects run alone.
    fn may_run(&self, index: usize) -> bool {
        let suspect = self.suspects.first();
        suspect.is_none_or(|suspect| *suspect == self.running[index].order)
    }

    /// Tokens of a step; caches of their own take a prompt as a whole, and what follows one by one.
    fn piece(&self, task: &Task<'_>, budget: usize) -> usize {
        match (
            &self.setup.layout,
            task.row.prompt_len - task.computed.min(task.row.prompt_len),
        ) {
            (Some(_), _) => task.left().min(budget),
            (None, 0) => 1,
            (None, prompt) => prompt,
        }
    }

    /// Lets go of keys that have another rotation than the sequence has now.
    fn renew(&mut self) {
        let layout = self.setup.layout.as_ref();
        let Some(limit) = layout.and_then(|layout| layout.rotation_changes_beyond) else {
            return;
        };
        for task in &mut self.running {
            if task.len() == limit + 1 && task.computed == limit {
                task.release(&mut self.pool);
            }
        }
    }

    /// Blocks for `new` more tokens of a running task. Where there are none, those that came last give way, at last the
    /// task itself; gives the planned tokens of those that did.
    fn grow(&mut self, index: usize, new: usize) -> usize {
        let size = self.setup.block_size;
        let mut freed = 0;
        let order = self.running[index].order;
        loop {
            let task = &self.running[index];
            let first = task.computed / size;
            let needed = (task.computed + new).div_ceil(size);
            let written = task.blocks.get(first).copied();
            let copied = written.filter(|block| self.pool.is_shared(*block));
            if copied.is_none() && task.blocks.len() >= needed {
                return freed;
            }
            if let Some(block) = self.pool.take() {
                let task = &mut self.running[index];
                match copied {
                    Some(shared) => {
                        self.store.copy_block(shared, block);
                        task.blocks[first] = block;
                        self.pool.release(shared);
                        task.links.truncate(first);
                    }
                    None => task.blocks.push(block),
                }
                continue;
            }
            let Some(last) = self.running.last() else {
                return freed;
            };
            let gave_way = last.order;
            freed += last.planned;
            self.preempt(self.running.len() - 1);
            if gave_way == order {
                return freed;
            }
        }
    }

    /// Takes a running task's blocks; it is computed anew when it is its turn.
    pub(super) fn preempt(&mut self, index: usize) {
        let mut task = self.running.remove(index);
        task.release(&mut self.pool);
        self.stats.preemptions += 1;
        self.waiting.insert(task.order, task);
    }

    /// Begins with the task that has waited longest, if its blocks are there, and gives the tokens planned for it.
    fn admit(&mut self, budget: usize) -> Option<usize> {
        let first = self.suspects.first();
        let first = first.or_else(|| self.waiting.keys().next());
        let order = *first?;
        let task = self.waiting.get(&order)?;
        let size = self.setup.block_size;
        let mut found = match self.shares {
            true => self.pool.find(&task.row.ids, size),
            false => Vec::new(),
        };
        let needed = task.len().div_ceil(size);
        // One for each that goes on, which may need it soon.
        let spare = self.pool.available().checked_sub(self.running.len())?;
        let idle = |found: &[(u32, u64)]| {
            let idle = found.iter().filter(|(block, _)| self.pool.is_idle(*block));
            idle.count()
        };
        // The last token is computed even if all are known, and then into a copy.
        if found.len() * size == task.len()
            && let Some((last, _)) = found.last()
            && (!self.pool.is_computed(*last) || needed + 1 - found.len() + idle(&found) > spare)
        {
            found.pop();
        }
        let copies = usize::from(found.len() * size == task.len());
        if needed + copies - found.len() + idle(&found) > spare {
            return None;
        }
        let mut task = self.waiting.remove(&order)?;
        for (block, link) in found {
            self.pool.hold(block);
            task.blocks.push(block);
            task.links.push(link);
        }
        task.computed = (task.blocks.len() * size).min(task.len() - 1);
        let planned = self.piece(&task, budget);
        self.note_begin(&task);
        let index = self
            .running
            .partition_point(|other| other.order < task.order);
        self.running.insert(index, task);
        self.grow(index, planned);
        let task = self.running.get_mut(index)?;
        task.planned = planned;
        if self.shares {
            task.publish(&mut self.pool, size);
        }
        Some(planned)
    }
}
