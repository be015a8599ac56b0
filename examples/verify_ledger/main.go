// Verifies a ledger of Agent Mesh with the packages that Go's own checksum database is made of, and none of ours:
// golang.org/x/mod/sumdb/note for the checkpoint, golang.org/x/mod/sumdb/tlog for tiles, root and proofs.
//
//	TOKEN=$(agent-mesh token audit) go run main.go -url URL -key VKEY [-receipt FILE] [-old-checkpoint FILE]
//
// It reads every entry, computes the root anew, compares it with the signed one, and checks receipts and older
// checkpoints against it. `go run main.go -vectors` prints the vectors in tests/data/ledger-vectors/go-tlog.json.
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height
)

type checkpoint struct {
	origin string
	tree   tlog.Tree
}

type receipt struct {
	Index      int64    `json:"index"`
	Entry      string   `json:"entry"`
	Proof      []string `json:"proof"`
	Checkpoint string   `json:"checkpoint"`
}

func main() {
	log.SetFlags(0)
	url := flag.String("url", "", "the audit function")
	key := flag.String("key", "", "the ledger's key: name+id+key")
	receiptFile := flag.String("receipt", "", "a receipt to check too")
	oldFile := flag.String("old-checkpoint", "", "a checkpoint from before, of which the ledger has to be a continuation")
	vectors := flag.Bool("vectors", false, "print test vectors instead")
	flag.Parse()
	if *vectors {
		printVectors()
		return
	}
	verifier, err := note.NewVerifier(*key)
	check(err)
	text := get(*url, "/checkpoint")
	newest := open(text, verifier)
	fmt.Printf("signed: %d entries, root %v\n", newest.tree.N, newest.tree.Hash)

	reader := tlog.TileHashReader(newest.tree, servedTiles{*url})
	computed := rootOfEntries(*url, newest.tree.N)
	if computed != newest.tree.Hash {
		log.Fatalf("the entries have the root %v, signed is %v", computed, newest.tree.Hash)
	}
	fmt.Println("entries: as signed")

	if *receiptFile != "" {
		checkReceipt(read(*receiptFile), verifier)
	}
	if *oldFile != "" {
		old := open(read(*oldFile), verifier)
		proof, err := tlog.ProveTree(newest.tree.N, old.tree.N, reader)
		check(err)
		check(tlog.CheckTree(proof, newest.tree.N, newest.tree.Hash, old.tree.N, old.tree.Hash))
		fmt.Printf("history: continues the checkpoint of %d entries\n", old.tree.N)
	}
}

// open verifies a signed note and reads the three lines of a checkpoint in it.
func open(text []byte, verifier note.Verifier) checkpoint {
	opened, err := note.Open(text, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		log.Fatalf("not a checkpoint of %q: %q", verifier.Name(), opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(lines[2])
	check(err)
	return checkpoint{lines[0], tlog.Tree{N: size, Hash: root}}
}

func checkReceipt(text []byte, verifier note.Verifier) {
	var found receipt
	check(json.Unmarshal(text, &found))
	signed := open([]byte(found.Checkpoint), verifier)
	var proof tlog.RecordProof
	for _, line := range found.Proof {
		hash, err := tlog.ParseHash(line)
		check(err)
		proof = append(proof, hash)
	}
	leaf := tlog.RecordHash([]byte(found.Entry))
	check(tlog.CheckRecord(proof, signed.tree.N, signed.tree.Hash, found.Index, leaf))
	fmt.Printf("receipt: entry %d of %d\n", found.Index, signed.tree.N)
}

// servedTiles reads tiles as C2SP tlog-tiles has them: Go's own paths have the height in them, which is always 8 here.
type servedTiles struct{ url string }

func (servedTiles) Height() int { return height }

func (served servedTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		found = append(found, get(served.url, "/"+strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
	}
	return found, nil
}

func (servedTiles) SaveTiles([]tlog.Tile, [][]byte) {}

// rootOfEntries reads every bundle of entries and computes the root from them alone.
func rootOfEntries(url string, size int64) tlog.Hash {
	var stored hashes
	for first := int64(0); first < size; first += width {
		count := size - first
		if count > width {
			count = width
		}
		tile := tlog.Tile{H: height, L: -1, N: first / width, W: int(count)}
		bundle := get(url, "/"+strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1))
		for index := first; index < first+count; index++ {
			length := int(binary.BigEndian.Uint16(bundle))
			stored.append(index, bundle[2:2+length])
			bundle = bundle[2+length:]
		}
		if len(bundle) != 0 {
			log.Fatalf("%d bytes too many after entry %d", len(bundle), first+count-1)
		}
	}
	return stored.root(size)
}

type hashes []tlog.Hash

func (stored *hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var found []tlog.Hash
	for _, index := range indexes {
		found = append(found, (*stored)[index])
	}
	return found, nil
}

func (stored *hashes) append(index int64, entry []byte) {
	more, err := tlog.StoredHashes(index, entry, stored)
	check(err)
	*stored = append(*stored, more...)
}

func (stored *hashes) root(size int64) tlog.Hash {
	root, err := tlog.TreeHash(size, stored)
	check(err)
	return root
}

// printVectors writes what this library makes of entries "entry 0", "entry 1" and so on.
func printVectors() {
	const most = 600
	name, seed := "ledger.example/go", make([]byte, ed25519.SeedSize)
	private := append([]byte{1}, seed...)
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	vkey, err := note.NewEd25519VerifierKey(name, public)
	check(err)
	id := strings.Split(vkey, "+")[1]
	skey := fmt.Sprintf("PRIVATE+KEY+%s+%s+%s", name, id, base64.StdEncoding.EncodeToString(private))
	signer, err := note.NewSigner(skey)
	check(err)
	var stored hashes
	trees, notes := map[int64]string{}, map[int64]string{}
	for index := int64(0); index < most; index++ {
		stored.append(index, []byte(fmt.Sprintf("entry %d", index)))
		if size := index + 1; size < 20 || size%97 == 0 || size == 255 || size == 256 || size == 257 || size == most {
			root := stored.root(size)
			trees[size] = root.String()
			signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%v\n", name, size, root)}, signer)
			check(err)
			notes[size] = string(signed)
		}
	}
	var inclusion, consistency []map[string]any
	for _, pair := range [][2]int64{{0, 1}, {0, 2}, {6, 7}, {0, 256}, {255, 256}, {256, 257}, {300, 388}, {599, 600}, {17, 600}} {
		proof, err := tlog.ProveRecord(pair[1], pair[0], &stored)
		check(err)
		inclusion = append(inclusion, map[string]any{"index": pair[0], "size": pair[1], "proof": texts(proof)})
	}
	for _, pair := range [][2]int64{{1, 1}, {1, 2}, {3, 7}, {6, 8}, {255, 257}, {256, 600}, {97, 388}, {599, 600}, {600, 600}} {
		proof, err := tlog.ProveTree(pair[1], pair[0], &stored)
		check(err)
		consistency = append(consistency, map[string]any{"old": pair[0], "new": pair[1], "proof": texts(proof)})
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	check(encoder.Encode(map[string]any{
		"vkey": vkey, "skey": skey, "roots": trees, "notes": notes, "inclusion": inclusion, "consistency": consistency,
	}))
}

func texts(proof []tlog.Hash) []string {
	found := []string{}
	for _, hash := range proof {
		found = append(found, hash.String())
	}
	return found
}

func get(url, path string) []byte {
	request, err := http.NewRequest(http.MethodGet, url+path, nil)
	check(err)
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))
	answer, err := http.DefaultClient.Do(request)
	check(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	check(err)
	if answer.StatusCode != http.StatusOK {
		log.Fatalf("GET %s: %s %s", path, answer.Status, body)
	}
	return body
}

func read(file string) []byte {
	text, err := os.ReadFile(file)
	check(err)
	return text
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
