package suite

import (
	"context"
	"errors"
	"fmt"
	"io"

	"tidings/bench/load"
)

// Sizes of the cases about memory, at Scale 1.
const (
	memoryUsers = 10_000_000
	memoryApps  = 10_000
	fewUsers    = 10 // in each of memoryApps
)

// memoryCases measures the memory of a server with many users in one app, and of
// one with many apps of few users.
func (s *suite) memoryCases(ctx context.Context) error {
	if err := s.manyUsers(ctx); err != nil {
		return err
	}
	return s.manyApps(ctx)
}

func (s *suite) manyUsers(ctx context.Context) (err error) {
	st, err := s.openWith(ctx, setup{noCheckpoints: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	st.users = s.scaled(memoryUsers)
	st.name = count(st.users) + " users"
	if err := st.client.NameAttrs(ctx, load.TraitNames); err != nil {
		return err
	}
	if err := s.importMembers(ctx, st); err != nil {
		return err
	}
	m, err := st.metrics(ctx)
	if err != nil {
		return err
	}
	perUser := m["tidings_index_bytes"] / float64(st.users)
	s.add(Row{
		Case: "memory of the index as it is reported, names, 5 attributes and 5 tags, " + st.name, Ours: fmt.Sprintf("%.1f bytes a user", perUser),
		Baseline: "-", Ratio: "-", Aim: "<= 60 bytes", Met: perUser <= 60,
	})
	if err := s.parts(ctx, st); err != nil {
		return err
	}
	return s.checkpointMemory(ctx, st)
}

// manyApps measures the memory of an app that has hardly any users. The server starts
// again before each measurement, so that requests have left nothing behind.
func (s *suite) manyApps(ctx context.Context) (err error) {
	st, err := s.openWith(ctx, setup{noCheckpoints: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	emptyHeap, emptyRSS, err := s.restedMemory(ctx, st)
	if err != nil {
		return err
	}
	apps := max(int(memoryApps*s.opts.Scale), 20)
	st.name, st.users = fmt.Sprintf("%s apps of %d users", count(uint64(apps)), fewUsers), fewUsers
	if err := s.addApps(ctx, st, apps); err != nil {
		return err
	}
	if err := s.fill(ctx, st); err != nil {
		return err
	}
	st.client.Close()
	if err := st.stop(); err != nil {
		return err
	}
	if err := s.start(ctx, st); err != nil {
		return err
	}
	heap, rss, err := s.restedMemory(ctx, st)
	if err != nil {
		return err
	}
	perApp := (heap - emptyHeap) / float64(apps)
	s.add(Row{
		Case: "heap in use by an app, " + st.name, Ours: fmt.Sprintf("%.1f KB", perApp/1000),
		Baseline: fmt.Sprintf("resident memory %.1f KB", (rss-emptyRSS)/float64(apps)/1000), Ratio: "-", Aim: "<= 8 KB", Met: perApp <= 8000,
	})
	return s.parts(ctx, st)
}

// restedMemory waits until a server is idle, and returns its heap in use and its resident
// memory, in bytes.
func (s *suite) restedMemory(ctx context.Context, st *store) (heap, rss float64, err error) {
	if err := s.settle(ctx, st.process); err != nil {
		return 0, 0, err
	}
	m, err := st.collected(ctx)
	if err != nil {
		return 0, 0, err
	}
	resident, err := st.rss()
	return m[liveHeap], float64(resident), err
}

// liveHeap is the metric of the bytes that Go has allocated and not freed. Right after a
// collection these are the bytes in use.
const liveHeap = "go_memstats_heap_alloc_bytes"

// collected makes a server collect its garbage, and returns its metrics.
func (st *store) collected(ctx context.Context) (metrics, error) {
	page, err := st.page(ctx, "/debug/pprof/heap?gc=1")
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, page)
	if err := errors.Join(err, page.Close()); err != nil {
		return nil, err
	}
	return st.metrics(ctx)
}

// parts compares the sum of the reported parts of memory with the heap in use.
func (s *suite) parts(ctx context.Context, st *store) error {
	const aim = "0.9 to 1.1"
	name := "sum of the parts of memory that are reported, " + st.name
	if err := s.settle(ctx, st.process); err != nil {
		return err
	}
	m, err := st.collected(ctx)
	if err != nil {
		return err
	}
	sum, exists := m["tidings_heap_parts_bytes"]
	if !exists {
		s.notOffered(name, aim)
		return nil
	}
	ratio := sum / m[liveHeap]
	s.add(Row{
		Case: name, Ours: fmt.Sprintf("%.1f MB", sum/mebi), Baseline: fmt.Sprintf("heap in use %.1f MB", m[liveHeap]/mebi),
		Ratio: fmt.Sprintf("%.2f", ratio), Aim: aim, Met: ratio >= 0.9 && ratio <= 1.1,
	})
	return nil
}

// checkpointMemory measures the peak of the resident memory while a checkpoint is written
// and random users change at full speed. What the checkpoint shares with the index is
// copied before it changes, so this is the most memory that a checkpoint takes.
func (s *suite) checkpointMemory(ctx context.Context, st *store) error {
	const aim = "<= 2.2 times the index"
	name := "peak of the resident memory while a checkpoint is written beside changes of random users, " + st.name
	if !s.checkpoints {
		s.notOffered(name, aim)
		return nil
	}
	c, err := s.alternate(ctx, st, batch, load.MemberAttrs())
	if err != nil {
		return err
	}
	// Garbage of changes is there in any case, also without a checkpoint.
	if _, err := c.run(ctx, load.Options{Duration: s.opts.Round}); err != nil {
		return err
	}
	var r ratios
	var peaks, rests, indexes []float64
	for range s.opts.Rounds {
		rest, err := s.rssAtRest(ctx, st)
		if err != nil {
			return err
		}
		m, err := st.metrics(ctx)
		if err != nil {
			return err
		}
		if err := st.resetPeak(); err != nil {
			return err
		}
		if _, err := checkpointTask.beside(ctx, c, 0); err != nil {
			return err
		}
		peak, err := st.peakRSS()
		if err != nil {
			return err
		}
		index := m["tidings_index_bytes"]
		r = append(r, float64(peak)/index)
		peaks, rests, indexes = append(peaks, float64(peak)/mebi), append(rests, rest), append(indexes, index/mebi)
	}
	s.add(Row{
		Case: name, Ours: fmt.Sprintf("%.0f MB", median(peaks)),
		Baseline: fmt.Sprintf("index %.0f MB, resident memory before %.0f MB", median(indexes), median(rests)),
		Ratio:    r.String(), Aim: aim, Met: median(r) <= 2.2,
	})
	return nil
}
