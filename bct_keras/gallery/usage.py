"""What `--help` says of each action of the gallery, above its flags."""

# In the order of a gallery's life.
SUMMARIES = {
    "add": "adds the embeddings of images, or takes a report that lets queries in",
    "search": "finds the nearest entries to photos, images of a data set or stored embeddings",
    "info": "tells how many entries there are, by which encoders, and who may search them",
    "backfill": "embeds old entries anew by the new encoder, in an order of your choice",
    "cut-over": "lets searches go to the new embeddings that lie beside the old ones in Milvus",
    "move": "brings old entries to the new encoder by an adapter, without an image",
    "restore": "takes a move or a cut-over back, not a backfill of a file",
    "forget-originals": "drops what a move could be taken back to",
    "remove": "removes entries by id or by label",
    "bundle": "packs the gallery, an encoder and a page into a folder for a device",
}
EXAMPLES = {
    "add": """\
bct gallery add --gallery='file(people.gallery)' --data=data/mine \\
    --embeddings=data/mine-by-old
bct gallery add --gallery='file(people.gallery)' --report=reports/new-old""",
    "search": """\
bct gallery search --gallery='file(people.gallery)' \\
    --encoder=exported/encoder.tflite --image=me.jpg""",
    "info": "bct gallery info --gallery='file(people.gallery)'",
    "backfill": """\
bct gallery backfill --gallery='file(people.gallery)' --encoder=runs/new \\
    --data=data/mine""",
    "cut-over": "bct gallery cut-over --gallery='milvus(http://host:19530)'",
    "move": """\
bct gallery move --gallery='file(people.gallery)' --adapter=adapted/gallery \\
    --report=reports/routes""",
    "restore": "bct gallery restore --gallery='file(people.gallery)'",
    "forget-originals": "bct gallery forget-originals --gallery='file(people.gallery)'",
    "remove": """\
bct gallery remove --gallery='file(people.gallery)' --id=person52/003.jpg \\
    --label=17""",
    "bundle": """\
bct gallery bundle --gallery='file(people.gallery)' \\
    --encoder=exported/encoder.tflite --out=device""",
}


def usage_of(action: str) -> str:
    """Returns what an action does, as a sentence, and an example."""
    summary = SUMMARIES[action]
    return f"{summary[0].upper()}{summary[1:]}.\n\n{EXAMPLES[action]}"
