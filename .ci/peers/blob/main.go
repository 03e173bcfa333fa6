// Reads and writes archives with meigma/blob, so that skep can be held against it.
//
//	blob read REF         path, mode and SHA-256 of every file, as blob itself finds and reads it
//	blob write DIR REF    pushes a directory
//	blob extract REF DIR  extracts everything, with modes and times
//	blob cat REF PATH     prints one file
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log"
	"os"

	"github.com/meigma/blob"
)

func main() {
	ctx := context.Background()
	client, err := blob.NewClient(blob.WithPlainHTTP(true), blob.WithAnonymous())
	if err != nil {
		log.Fatal(err)
	}
	switch os.Args[1] {
	case "read":
		archive, err := client.Pull(ctx, os.Args[2], blob.PullWithMaxIndexSize(1<<30))
		if err != nil {
			log.Fatal(err)
		}
		for entry := range archive.Entries() {
			content, err := archive.ReadFile(entry.Path())
			if err != nil {
				log.Fatalf("%s: %v", entry.Path(), err)
			}
			fmt.Printf("%x  %o  %s\n", sha256.Sum256(content), entry.Mode().Perm(), entry.Path())
		}
	case "write":
		if err := client.Push(ctx, os.Args[3], os.Args[2], blob.PushWithCompression(blob.CompressionZstd)); err != nil {
			log.Fatal(err)
		}
	case "extract":
		archive, err := client.Pull(ctx, os.Args[2], blob.PullWithMaxIndexSize(1<<30))
		if err != nil {
			log.Fatal(err)
		}
		if err := os.MkdirAll(os.Args[3], 0o755); err != nil {
			log.Fatal(err)
		}
		if _, err := archive.CopyDir(os.Args[3], ".", blob.CopyWithPreserveMode(true), blob.CopyWithPreserveTimes(true)); err != nil {
			log.Fatal(err)
		}
	case "cat":
		archive, err := client.Pull(ctx, os.Args[2], blob.PullWithMaxIndexSize(1<<30))
		if err != nil {
			log.Fatal(err)
		}
		content, err := archive.ReadFile(os.Args[3])
		if err != nil {
			log.Fatal(err)
		}
		os.Stdout.Write(content)
	default:
		log.Fatalf("what is %q?", os.Args[1])
	}
}
