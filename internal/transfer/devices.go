package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/device"
)

// maxDeviceLine is the longest line of a file of devices, in bytes: one with all tokens and
// texts as long as they may be.
const maxDeviceLine = 64 << 10

// ApplyDevices makes the devices of an app that the lines of a chunk hold, in their order,
// or, in a dry run, answers what that would come to. It returns when all that could be
// applied is durable. Counts are of devices. Without drivers it is not looked at whether
// a provider takes tokens of a kind.
func ApplyDevices(ctx context.Context, a *app.App, drivers channel.Drivers, devices device.Store, chunk Chunk, dryRun bool, lines io.Reader) (*Result, error) {
	if chunk.Replace {
		return nil, &app.Error{Msg: "a device has what its line says and no more: there is nothing to replace"}
	}
	text, err := io.ReadAll(io.LimitReader(lines, MaxChunkBytes+1))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(text, []byte("\n")); len(text) > MaxChunkBytes || n > MaxChunkLines {
		return nil, &app.Error{Msg: fmt.Sprintf("a chunk has %d bytes and %d lines, it may have %d and %d", len(text), n, MaxChunkBytes, MaxChunkLines)}
	}
	im := &deviceImporter{app: a, drivers: drivers, lines: bytes.Split(text, []byte("\n"))}
	if err := im.run(ctx, devices, dryRun); err != nil {
		return nil, err
	}
	slices.SortFunc(im.result.Failures, func(a, b Failure) int { return a.Line - b.Line })
	im.result.Users = im.result.Created + im.result.Changed + im.result.Unchanged
	return &im.result, nil
}

// A deviceImporter works on one chunk.
type deviceImporter struct {
	app     *app.App
	drivers channel.Drivers
	lines   [][]byte
	result  Result
}

// A devicePiece is some lines of a chunk, parsed.
type devicePiece struct {
	devices  []*device.Moved
	lines    []int // of the devices, in the chunk
	failures []Failure
	ready    chan struct{}
}

// run parses pieces while those before are applied.
func (im *deviceImporter) run(ctx context.Context, devices device.Store, dryRun bool) error {
	pieces := make([]devicePiece, (len(im.lines)+importBatch-1)/importBatch)
	for i := range pieces {
		pieces[i].ready = make(chan struct{})
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(max(1, runtime.GOMAXPROCS(0)-1), len(pieces)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(pieces); i = int(next.Add(1)) - 1 {
				im.parse(&pieces[i], i*importBatch)
				close(pieces[i].ready)
			}
		})
	}
	defer wg.Wait()
	type applied struct {
		line int
		id   string
	}
	var all []applied
	batches := iter.Seq[[]*device.Moved](func(yield func([]*device.Moved) bool) {
		for i := range pieces {
			p := &pieces[i]
			<-p.ready
			im.result.Failures = append(im.result.Failures, p.failures...)
			for k, d := range p.devices {
				all = append(all, applied{p.lines[k], d.ID})
			}
			if len(p.devices) > 0 && !yield(p.devices) {
				return
			}
			*p = devicePiece{} // its memory is needed no more
		}
	})
	return devices.Import(ctx, im.app.ID, batches, dryRun, func(i int, o audience.Outcome, err error) {
		switch {
		case err != nil:
			im.result.Failures = append(im.result.Failures, Failure{all[i].line, all[i].id, err.Error()})
		case o == audience.Created:
			im.result.Created++
		case o == audience.Changed:
			im.result.Changed++
		default:
			im.result.Unchanged++
		}
	})
}

func (im *deviceImporter) parse(p *devicePiece, first int) {
	lines := im.lines[first:min(first+importBatch, len(im.lines))]
	for i, text := range lines {
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		if len(text) > maxDeviceLine {
			p.failures = append(p.failures, Failure{Line: first + i, Reason: fmt.Sprintf("it has %d bytes, a line may have %d", len(text), maxDeviceLine)})
			continue
		}
		d, err := device.ParseMoved(text)
		if err != nil {
			p.failures = append(p.failures, Failure{Line: first + i, Reason: err.Error()})
			continue
		}
		if err := im.check(d); err != nil {
			p.failures = append(p.failures, Failure{first + i, d.ID, err.Error()})
			continue
		}
		p.devices, p.lines = append(p.devices, d), append(p.lines, first+i)
	}
}

// check returns why the app may not have a device: its user cannot be one, or its tokens
// reach nothing.
func (im *deviceImporter) check(d *device.Moved) error {
	if d.User != "" {
		if err := im.app.Settings.UserIDs.Check(d.User); err != nil {
			return fmt.Errorf("user: %w", err)
		}
	}
	for i := range d.Tokens {
		t := &d.Tokens[i]
		c := im.app.Certificate(t.Certificate)
		if c == nil {
			return fmt.Errorf("tokens[%d]: app %d has no certificate %d (tidings channel list shows those that it has)", i, im.app.ID, t.Certificate)
		}
		if driver := im.drivers[c.Provider]; driver != nil && !slices.Contains(driver.Kinds(), t.Kind) {
			return fmt.Errorf("tokens[%d]: certificate %d is of %s, which takes no token of kind %s", i, c.ID, c.Provider, t.Kind)
		}
		if (t.Kind == channel.LiveActivity) != (t.LaID != "") {
			return fmt.Errorf("tokens[%d]: a token of the kind %s needs la_id, and no other has it", i, channel.LiveActivity)
		}
		if t.Environment != "" && c.Provider != channel.APNs {
			return fmt.Errorf("tokens[%d]: certificate %d is of %s, only tokens of Apple have an environment", i, c.ID, c.Provider)
		}
	}
	return nil
}

// WriteDevices writes the devices of an app as NDJSON, a line for each, with their tokens.
func WriteDevices(ctx context.Context, devices device.Store, app uint32, out io.Writer) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return devices.Export(ctx, app, func(d *device.Moved) error { return enc.Encode(d) })
}
