"""What is known from outside: data files, accelerators, models, the article's figures. No laws."""
