package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"

	"tidings/internal/store/faulty"
	"tidings/internal/testenv"
)

const history = 0x0123456789abcdef

// A row is a log that is written group after group.
type row struct {
	t       testing.TB
	fs      *vfs.MemFS
	segment *segmentWriter
	pos     Pos
	chain   uint64
	offsets []int // of the ends of the groups in their segments
}

func newRow(t testing.TB) *row {
	fs := faulty.NewDisk(t, dir)
	if err := fs.MkdirAll(dir+"/log", 0o755); err != nil {
		t.Fatal(err)
	}
	r := &row{t: t, fs: fs}
	r.next()
	return r
}

// next begins a segment.
func (r *row) next() {
	r.t.Helper()
	number := uint64(1)
	if r.segment != nil {
		number = r.segment.number + 1
	}
	var err error
	if r.segment, err = createSegment(r.fs, dir+"/log", number, history); err != nil {
		r.t.Fatal(err)
	}
}

// add writes a group with a memory entry of some bytes.
func (r *row) add(size int) {
	r.t.Helper()
	var b Batch
	b.Memory(bytes.Repeat([]byte{'x'}, size))
	r.pos++
	group, chain := closeGroup(r.pos, appendBytes(append(make([]byte, groupHeader), 1), b.entries), 7, r.chain)
	r.chain = chain
	if err := r.segment.append(r.pos, group); err != nil {
		r.t.Fatal(err)
	}
	r.offsets = append(r.offsets, len(r.file(r.segment.number)))
}

func (r *row) file(number uint64) []byte {
	return faulty.Read(r.t, r.fs, dir+"/log/"+segmentName(number))
}

func (r *row) read(fs vfs.FS) (last Pos, err error) {
	log := logReader{fs: fs, dir: dir + "/log", history: history}
	err = log.read(func(groupInfo, []byte, int) error { return nil })
	return max(log.next, 1) - 1, err
}

// TestLaterGroup: a group that cannot be read is damage if a later one is there,
// wherever in a block of the file that begins.
func TestLaterGroup(t *testing.T) {
	for spare := range 64 {
		r := newRow(t)
		r.add(100)
		r.add(0)
		begin := r.offsets[1]
		pad := blockSize - begin - (r.offsets[1] - r.offsets[0]) - spare
		r.add(pad - 4)
		if at := blockSize - r.offsets[2]; at != spare {
			t.Fatalf("the last group begins %d bytes before the end of a block, want %d", at, spare)
		}
		flipped := r.file(1)
		r.add(80_000)
		bad := r.file(1)
		bad[begin+40] ^= 1
		faulty.Write(t, r.fs, dir+"/log/"+segmentName(1), bad)
		last, err := r.read(r.fs)
		damage, ok := errors.AsType[*Damage](err)
		if !ok || damage.Offset > int64(begin+40) || damage.Offset < int64(begin) {
			t.Errorf("%d bytes before the end of a block: it ends with group %d, %v", blockSize-r.offsets[2], last, err)
		}
		// Without the later group it is a torn end.
		flipped[begin+40] ^= 1
		faulty.Write(t, r.fs, dir+"/log/"+segmentName(1), flipped)
		if last, err := r.read(r.fs); err != nil || last != 2 {
			t.Errorf("without a later group: it ends with group %d, %v", last, err)
		}
	}
}

// TestSegmentFlips: a bit flipped anywhere in a log of several segments, parts and
// blocks is named with file and offset, or leaves all groups as they were, or is in the
// last group, which is then missing.
func TestSegmentFlips(t *testing.T) {
	r := newRow(t)
	for i, size := range []int{10, 32_700, 40, 0, maxPart + 10, 100_000, 20, 33_000, 500} {
		if i == 3 || i == 6 {
			r.next()
		}
		r.add(size)
	}
	random := rand.New(rand.NewPCG(testenv.Seed(t), 6))
	for number := uint64(1); number <= 3; number++ {
		name := dir + "/log/" + segmentName(number)
		good := r.file(number)
		last := r.offsets[len(r.offsets)-2]
		for i := 0; i < len(good); i += 1 + random.IntN(1+len(good)/testenv.Rounds(40)) {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << random.IntN(8)
			faulty.Write(t, r.fs, name, bad)
			end, err := r.read(r.fs)
			damage, named := errors.AsType[*Damage](err)
			switch {
			case err == nil && end == r.pos:
			case err == nil && end == r.pos-1 && number == 3 && i >= last:
			case named && damage.File == name && damage.Offset <= int64(i) && damage.Offset > int64(i-maxPart-3*blockSize):
			default:
				t.Errorf("byte %d of %s is flipped: it ends with group %d, %v", i, name, end, err)
			}
		}
		faulty.Write(t, r.fs, name, good)
	}
}

// TestSegmentMissing: a segment that is missing, empty, cut anywhere or another's is
// named; what is missing of the last is what a torn write leaves.
func TestSegmentMissing(t *testing.T) {
	r := newRow(t)
	for i := range 9 {
		if i%3 == 0 && i > 0 {
			r.next()
		}
		r.add(20_000)
	}
	random := rand.New(rand.NewPCG(testenv.Seed(t), 7))
	for number := uint64(1); number <= 3; number++ {
		name := dir + "/log/" + segmentName(number)
		good := r.file(number)
		for i := 0; i < len(good); i += 1 + random.IntN(len(good)/testenv.Rounds(20)) {
			faulty.Write(t, r.fs, name, good[:i])
			end, err := r.read(r.fs)
			damage, named := errors.AsType[*Damage](err)
			switch {
			case number == 1 && i < r.offsets[0] && named: // the log begins with a later one: see replay.gap
			case number == 1 && i < r.offsets[0] && err == nil && end == r.pos:
			case number == 3 && err == nil && end >= 6:
			case named && (damage.File == name || i < r.offsets[3] && damage.File == dir+"/log/"+segmentName(number-1)):
			default:
				t.Errorf("%s is cut at byte %d of %d: it ends with group %d, %v", name, i, len(good), end, err)
			}
		}
		faulty.Write(t, r.fs, name, good)
	}
	if err := r.fs.Remove(dir + "/log/" + segmentName(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.read(r.fs); err == nil {
		t.Error("a segment is missing and nobody noticed")
	}
}

// TestChain: segments of two continuations of one log do not fit each other, and a
// group fits no other place, though each is as it was written.
func TestChain(t *testing.T) {
	one, two := newRow(t), newRow(t)
	for i := range 9 {
		if i%3 == 0 && i > 0 {
			one.next()
			two.next()
		}
		one.add(100)
		if two.add(100); i == 1 {
			one.add(101)
			two.add(102)
		}
	}
	for choice := range 1 << 3 {
		fs := faulty.NewDisk(t, dir)
		if err := fs.MkdirAll(dir+"/log", 0o755); err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			from := one
			if choice>>n&1 == 1 {
				from = two
			}
			faulty.Write(t, fs, dir+"/log/"+segmentName(uint64(n+1)), from.file(uint64(n+1)))
		}
		last, err := one.read(fs)
		damage, named := errors.AsType[*Damage](err)
		switch whole := choice == 0 || choice == 7; {
		case whole && err == nil && last == one.pos:
		case !whole && named && damage.File == dir+"/log/"+segmentName(uint64(bits.TrailingZeros(uint(choice^choice<<1)&6)+1)):
		default:
			t.Errorf("segments of %03b: it ends with group %d, %v", choice, last, err)
		}
	}

	// The same with the bytes of a group: each record is whole, and its place is wrong.
	for name, group := range map[string][]byte{
		"another position": groupOf(t, one, 3),
		"changed":          bytes.Replace(groupOf(t, one, 2), []byte("xx"), []byte("xy"), 1),
	} {
		r := newRow(t)
		r.add(100)
		if err := r.segment.append(2, group); err != nil {
			t.Fatal(err)
		}
		r.pos, r.chain = 2, binary.LittleEndian.Uint64(group[len(group)-groupTrailer:]) // a group that fits it
		r.add(100)
		if last, err := r.read(r.fs); err == nil {
			t.Errorf("%s: it ends with group %d", name, last)
		}
	}
}

// groupOf returns the bytes of a group of the first segment.
func groupOf(t *testing.T, r *row, pos Pos) []byte {
	t.Helper()
	b := []byte(records(r.file(1))[pos])
	if p := Pos(binary.LittleEndian.Uint64(b[8:])); p != pos {
		t.Fatalf("it is group %d, want %d", p, pos)
	}
	return b[partHeader:]
}

// TestReadError: a disk that cannot read is no torn end.
func TestReadError(t *testing.T) {
	r := newRow(t)
	r.add(100)
	r.add(90_000)
	good := 0
	for n := range 50 {
		reads := 0
		fs := &faulty.FS{FS: r.fs, Reading: func(string) error {
			if reads++; reads == n+1 {
				return syscall.EIO
			}
			return nil
		}}
		last, err := r.read(fs)
		switch {
		case err == nil && last == 2:
			good++
		case !errors.Is(err, syscall.EIO):
			t.Errorf("read %d fails: it ends with group %d, %v", n, last, err)
		}
	}
	if good == 0 || good == 50 {
		t.Errorf("%d of 50 could be read", good)
	}
}

// TestReadErrorAfterDamage: whether a header that is broken is damage depends on what
// is behind it. If the disk cannot say, the error is the disk's.
func TestReadErrorAfterDamage(t *testing.T) {
	r := newRow(t)
	r.add(90_000)
	b := r.file(1)
	b[10] ^= 1
	faulty.Write(t, r.fs, dir+"/log/"+segmentName(1), b)
	for n := range 3 {
		reads := 0
		_, err := r.read(&faulty.FS{FS: r.fs, Reading: func(string) error {
			if reads++; reads == n+1 {
				return syscall.EIO
			}
			return nil
		}})
		damage, damaged := errors.AsType[*Damage](err)
		if failed := reads > n; failed == damaged || failed != errors.Is(err, syscall.EIO) {
			t.Errorf("of %d reads the disk failed number %d: %v, %v", reads, n+1, damage, err)
		}
	}
}

// records reads a file with package record.
func records(b []byte) (list []string) {
	r := record.NewReader(bytes.NewReader(b), 0)
	for {
		one, err := r.Next()
		if err != nil {
			return list
		}
		text, err := io.ReadAll(one)
		if err != nil {
			return list
		}
		list = append(list, string(text))
	}
}

// FuzzSegment: whatever a segment holds, reading it ends; what is read of it package
// record reads too.
func FuzzSegment(f *testing.F) {
	r := newRow(f)
	for _, size := range []int{0, 10, 1000} {
		r.add(size)
	}
	f.Add(r.file(1))
	f.Add(r.file(1)[:60])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := faulty.NewDisk(t, dir)
		if err := fs.MkdirAll(dir+"/log", 0o755); err != nil {
			t.Fatal(err)
		}
		name := dir + "/log/" + segmentName(1)
		faulty.Write(t, fs, name, b)
		log := logReader{fs: fs, dir: dir + "/log", history: history}
		_ = log.read(func(info groupInfo, blocks []byte, _ int) error {
			return eachEntry(blocks, func(uint32, entry) error { return nil })
		})
		if len(b) > 4<<10 {
			return // package record takes its time over what is broken
		}
		file, err := fs.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		s := &segmentReader{file: file, name: name, size: int64(len(b)), history: history}
		want := records(b)
		for i := 0; ; i++ {
			got, err := s.record()
			if err != nil {
				break
			}
			if i >= len(want) || string(got) != want[i] {
				t.Fatalf("record %d is %.100q, package record has %d", i, got, len(want))
			}
		}
	})
}

// FuzzGroup: a group that can be read is the same when it is written again.
func FuzzGroup(f *testing.F) {
	var b Batch
	b.Memory([]byte("set a b"))
	b.Set(copies, []byte("k"), []byte("v"))
	b.Delete(copies, []byte("k"))
	b.Clear()
	b.Raise(tops, nil, 5)
	f.Add(appendBytes([]byte{1}, b.entries))
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0})
	f.Fuzz(func(t *testing.T, blocks []byte) {
		group, chain := closeGroup(3, append(make([]byte, groupHeader), blocks...), 7, 9)
		info, got, err := openGroup(3, group)
		if err != nil || info != (groupInfo{3, 7, 9, chain}) || !bytes.Equal(got, blocks) {
			t.Fatalf("openGroup = %+v, %q, %v", info, got, err)
		}
		if _, _, err := openGroup(4, group); err == nil {
			t.Fatal("it fits another position")
		}
		parsed, err := parseBlocks(blocks)
		if err != nil {
			return
		}
		if again, err := parseBlocks(printBlocks(parsed)); err != nil || fmt.Sprint(again) != fmt.Sprint(parsed) {
			t.Fatalf("%v\nis %v when it is written again, %v", parsed, again, err)
		}
	})
}

type parsedEntry struct {
	app uint32
	e   entry
}

func parseBlocks(blocks []byte) (list []parsedEntry, err error) {
	err = eachEntry(blocks, func(app uint32, e entry) error {
		list = append(list, parsedEntry{app, e})
		return nil
	})
	return list, err
}

func printBlocks(list []parsedEntry) (blocks []byte) {
	for _, p := range list {
		var b Batch
		switch table := (&Table{ID: p.e.table}); p.e.kind {
		case entryMemory:
			b.Memory(p.e.value)
		case entrySet:
			b.Set(table, p.e.key, p.e.value)
		case entryDelete:
			b.Delete(table, p.e.key)
		case entryClear:
			b.Clear()
		case entryRaise:
			var n uint64
			for _, c := range p.e.value {
				n = n<<8 | uint64(c)
			}
			b.Raise(table, p.e.key, n)
		}
		blocks = appendBytes(binary.AppendUvarint(blocks, uint64(p.app)), b.entries)
	}
	return blocks
}

// FuzzCheckpoint: whatever a checkpoint holds, it is read or refused.
func FuzzCheckpoint(f *testing.F) {
	fs := faulty.NewDisk(f, dir)
	m := open(f, fs)
	m.mustSet(f, 1, "a", "b")
	if _, err := m.db.Checkpoint(f.Context()); err != nil {
		f.Fatal(err)
	}
	id := m.db.tables.history
	m.close(f)
	good := faulty.Read(f, fs, checkpointFiles(f, fs)[0])
	f.Add(good, id)
	f.Add(good[:40], id)
	f.Add([]byte{}, uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, id uint64) {
		fs := faulty.NewDisk(t, dir)
		if err := fs.MkdirAll(dir+"/checkpoints", 0o755); err != nil {
			t.Fatal(err)
		}
		faulty.Write(t, fs, dir+"/checkpoints/"+checkpointName(1), b)
		db := &DB{dir: dir, opts: Options{FS: fs, Logger: quiet}, tables: &tables{history: id}}
		c, err := db.openCheckpoint(1, func(r io.Reader, size int64) error {
			text, err := io.ReadAll(r)
			if err == nil && int64(len(text)) != size {
				err = fmt.Errorf("%d bytes of %d", len(text), size)
			}
			return err
		})
		if bad, ok := errors.AsType[*badCheckpoint](err); err != nil && (!ok || bad.pos != 1) {
			t.Errorf("it is refused with %v", err)
		}
		if err == nil && (c.pos != 1 || c.size != int64(len(b))) {
			t.Errorf("it is %+v", c)
		}
	})
}
