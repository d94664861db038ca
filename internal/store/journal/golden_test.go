package journal

import (
	"encoding/hex"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGoldenGroup: the bytes of a group are those that older programs wrote.
func TestGoldenGroup(t *testing.T) {
	var a, b Batch
	a.Memory([]byte("set a b"))
	a.Set(copies, []byte("a"), []byte("b"))
	a.Delete(copies, []byte("c"))
	b.Clear()
	b.Raise(tops, []byte("n"), 1<<40)
	blocks := appendBytes(append(make([]byte, groupHeader), 1), a.entries)
	blocks = appendBytes(append(blocks, 0x80, 0x01), b.entries) // app 128
	group, _ := closeGroup(0x0102, blocks, 1_700_000_000, 0x1112131415161718)
	got := hex.Dump(group)
	const name = "testdata/group.golden"
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("a group is\n%s\nwant\n%s", got, want)
	}
}
