package report_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"tidings/internal/channel"
	"tidings/internal/report"
)

// TestBlock: what a block keeps comes back as it was, at most 16 bytes a delivery.
func TestBlock(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	kinds := []channel.TokenKind{"", channel.Alert, channel.FID, channel.VoIP, channel.Subscription}
	b := report.Block{At: time.UnixMilli(1_700_000_000_123).UTC()}
	number := uint32(0)
	for range 500 {
		number += 1 + r.Uint32N(40)
		b.Deliveries = append(b.Deliveries, report.Delivery{
			Number: number, Outcome: report.Outcome(r.IntN(int(report.Outcomes))), Kind: kinds[r.IntN(len(kinds))],
			Tries: 1 + r.IntN(3), Text: r.IntN(3), Version: 1 + r.Uint32N(200), Took: time.Duration(r.IntN(2000)) * time.Millisecond,
		})
	}
	data := b.Append(nil)
	got, err := report.ParseBlock(data)
	if err != nil || !reflect.DeepEqual(got, b) {
		t.Fatalf("ParseBlock: %v, and %d deliveries, want those that were written", err, len(got.Deliveries))
	}
	if each := float64(len(data)) / 500; each > 10 {
		t.Errorf("a delivery takes %.1f bytes", each)
	}
	for _, d := range b.Deliveries {
		if found, ok := got.Find(d.Number); !ok || found != d {
			t.Fatalf("Find(%d) = %v, %v", d.Number, found, ok)
		}
		if _, ok := got.Find(d.Number + 41); ok && !has(b, d.Number+41) {
			t.Fatalf("Find(%d) found what is not there", d.Number+41)
		}
	}
}

func has(b report.Block, number uint32) bool {
	for _, d := range b.Deliveries {
		if d.Number == number {
			return true
		}
	}
	return false
}

// FuzzBlock: bytes are refused, or are a block that is written and read alike.
func FuzzBlock(f *testing.F) {
	f.Add([]byte{1, 10, 5, 0x11, 2, 1, 30})
	f.Add([]byte{1, 10, 0, 0x10, 3, 9, 1, 30, 7, 0x22, 2, 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := report.ParseBlock(data)
		if err != nil {
			return
		}
		again, err := report.ParseBlock(b.Append(nil))
		if err != nil || !reflect.DeepEqual(again, b) {
			t.Fatalf("%x was read as %v, and written and read again as %v, %v", data, b, again, err)
		}
	})
}

// TestBlockBytes: the example of doc/storage-format.md.
func TestBlockBytes(t *testing.T) {
	b := report.Block{At: time.UnixMilli(1_700_000_000_000), Deliveries: []report.Delivery{
		{Number: 300, Outcome: report.Accepted, Kind: channel.Alert, Tries: 1, Version: 2, Took: 35 * time.Millisecond},
		{Number: 301, Outcome: report.NoDevice},
	}}
	const want = "01 80 d0 95 ff bc 31 ac 02 11 02 02 23 01 09 00 00 00"
	if got := fmt.Sprintf("% x", b.Append(nil)); got != want {
		t.Errorf("the block is %s, want %s", got, want)
	}
}
