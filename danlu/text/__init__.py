"""What text is made of: documents, words, sentences, languages, normal forms; nothing here imports torch."""
