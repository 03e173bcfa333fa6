module skep.invalid/peers/blob

go 1.26.8

require github.com/meigma/blob v1.1.2

require (
	github.com/google/flatbuffers v25.12.19+incompatible // indirect
	github.com/klauspost/compress v1.18.3 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/opencontainers/image-spec v1.1.1 // indirect
	golang.org/x/sync v0.19.0 // indirect
	oras.land/oras-go/v2 v2.6.0 // indirect
)
